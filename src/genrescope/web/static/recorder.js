// The microphone, as a WAV file: what every server can read, and every browser can seek in.

import { Problem } from "./api.js";
import { decode, wav } from "./sound.js";

// Speech filters would take the music away.
const AS_IT_SOUNDS = { audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } };

export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);

export class Recorder {
  async start() {
    try {
      this.stream = await navigator.mediaDevices.getUserMedia(AS_IT_SOUNDS);
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
