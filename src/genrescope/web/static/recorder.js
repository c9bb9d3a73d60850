// Recording from the microphone, as a WAV file: every server can read it, and every browser can seek in it.

import { Problem } from "./api.js";
import { decode, wav } from "./audio.js";

// The filters that browsers apply to speech would remove most of the music.
const UNFILTERED = { audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } };

export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);

export class Recorder {
  async start() {
    try {
      this.stream = await navigator.mediaDevices.getUserMedia(UNFILTERED);
    } catch (reason) {
      throw new Problem({
        code: "no_microphone",
        detail: `The microphone cannot be used (${reason.message}).`,
        hint: "Allow this page to use it, in the browser's settings for this site.",
      });
    }
    this.parts = [];
    this.recorder = new MediaRecorder(this.stream);
    this.recorder.addEventListener("dataavailable", (event) => this.parts.push(event.data));
    this.recorder.start();
  }

  /** End the recording and return it. */
  async stop() {
    const ended = new Promise((resolve) => this.recorder.addEventListener("stop", resolve, { once: true }));
    this.recorder.stop();
    await ended;
    this.stream.getTracks().forEach((track) => track.stop());
    try {
      return wav(await decode(new Blob(this.parts)));
    } catch {
      throw new Problem({
        code: "nothing_recorded",
        detail: "The recording holds no sound.",
        hint: "Record for a second or more.",
      });
    }
  }
}
