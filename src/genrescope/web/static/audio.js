// Audio in the browser: decoding, WAV files, and mel spectrograms.

// The highest sample rate of a shipped model: the spectrogram shows the frequencies that it uses.
const RATE = 32000;
const SIZE = 2048;
const FLOOR_DB = -80;
const LOWEST_HZ = 40;

/** Decode a file to mono at RATE; throws where the browser does not know the format. */
export async function decode(file) {
  const context = new OfflineAudioContext(1, 1, RATE);
  const buffer = await context.decodeAudioData(await file.arrayBuffer());
  const samples = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const part = buffer.getChannelData(channel);
    for (let i = 0; i < part.length; i++) samples[i] += part[i] / buffer.numberOfChannels;
  }
  return samples;
}

/** Return samples as a WAV file: 16 bit, mono. */
export function wav(samples) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, word) => [...word].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * samples.length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, RATE, true);
  view.setUint32(28, 2 * RATE, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  for (let i = 0; i < samples.length; i++) {
    view.setInt16(44 + 2 * i, 32767 * Math.max(-1, Math.min(1, samples[i])), true);
  }
  return new Blob([view.buffer], { type: "audio/wav" });
}

/** Return an image: one column per point in time, `bands` mel bands, the highest at the top. */
export function spectrogram(samples, columns, bands) {
  const filters = melBands(bands);
  const power = new Float32Array(columns * bands);
  const [real, imaginary] = [new Float32Array(SIZE), new Float32Array(SIZE)];
  for (let column = 0; column < columns; column++) {
    const middle = Math.round(((column + 0.5) / columns) * samples.length);
    for (let i = 0; i < SIZE; i++) {
      real[i] = (samples[middle - SIZE / 2 + i] ?? 0) * WINDOW[i];
      imaginary[i] = 0;
    }
    transform(real, imaginary);
    filters.forEach(([first, weights], band) => {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) {
        const bin = first + i;
        sum += weights[i] * (real[bin] ** 2 + imaginary[bin] ** 2);
      }
      power[column * bands + band] = sum;
    });
  }
  return colored(power, columns, bands);
}

function colored(power, columns, bands) {
  const top = power.reduce((most, value) => Math.max(most, value), 1e-12);
  const image = new ImageData(columns, bands);
  for (let column = 0; column < columns; column++) {
    for (let band = 0; band < bands; band++) {
      const decibel = 10 * Math.log10(power[column * bands + band] / top + 1e-12);
      const color = heat(Math.max(0, 1 - decibel / FLOOR_DB));
      image.data.set(color, 4 * ((bands - 1 - band) * columns + column));
    }
  }
  return image;
}

// Five stops along matplotlib's "magma": even steps in lightness.
const STOPS = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];

function heat(share) {
  const place = Math.min(share, 0.9999) * (STOPS.length - 1);
  const [low, high] = [STOPS[Math.floor(place)], STOPS[Math.floor(place) + 1]];
  const rest = place % 1;
  return [...low.map((value, i) => value + rest * (high[i] - value)), 255];
}

const WINDOW = Float32Array.from({ length: SIZE }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / SIZE));
const mel = (hertz) => 2595 * Math.log10(1 + hertz / 700);
const hertz = (mels) => 700 * (10 ** (mels / 2595) - 1);

/** Return triangles on the mel scale (O'Shaughnessy) as [first bin, weights]. */
function melBands(bands) {
  const [low, high] = [mel(LOWEST_HZ), mel(RATE / 2)];
  const edges = Array.from({ length: bands + 2 }, (_, i) => {
    return (hertz(low + ((high - low) * i) / (bands + 1)) * SIZE) / RATE;
  });
  return Array.from({ length: bands }, (_, band) => {
    const [left, middle, right] = edges.slice(band, band + 3);
    const first = Math.floor(left);
    const weights = Array.from({ length: Math.ceil(right) - first + 1 }, (_, i) => {
      const [rise, fall] = [(first + i - left) / (middle - left), (right - first - i) / (right - middle)];
      return Math.max(0, Math.min(rise, fall)) || 0;
    });
    // Low bands are narrower than a bin of the transform; they take the value of the nearest bin.
    if (!weights.some((weight) => weight > 0)) return [Math.round(middle), [1]];
    const sum = weights.reduce((total, weight) => total + weight, 0);
    return [first, weights.map((weight) => weight / sum)];
  });
}

/** Fourier transform in place (Cooley and Tukey). */
function transform(real, imaginary) {
  for (let i = 1, j = 0; i < SIZE; i++) {
    let bit = SIZE >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) [real[i], real[j]] = [real[j], real[i]];
  }
  for (let length = 2; length <= SIZE; length <<= 1) {
    const half = length >> 1;
    const step = SIZE / length;
    for (let start = 0; start < SIZE; start += length) {
      for (let i = 0; i < half; i++) {
        const [cosine, sine] = [COSINES[i * step], SINES[i * step]];
        const [here, there] = [start + i, start + i + half];
        const partReal = real[there] * cosine - imaginary[there] * sine;
        const partImaginary = real[there] * sine + imaginary[there] * cosine;
        real[there] = real[here] - partReal;
        imaginary[there] = imaginary[here] - partImaginary;
        real[here] += partReal;
        imaginary[here] += partImaginary;
      }
    }
  }
}

const COSINES = Float32Array.from({ length: SIZE / 2 }, (_, i) => Math.cos((-2 * Math.PI * i) / SIZE));
const SINES = Float32Array.from({ length: SIZE / 2 }, (_, i) => Math.sin((-2 * Math.PI * i) / SIZE));
