// Requests to the server: they return its answer, or throw a Problem with what happened and what to do.

export class Problem extends Error {
  constructor({ code, detail, hint, status = 0, wait = 0 }) {
    super(detail);
    Object.assign(this, { code, hint, status, wait });
  }
}

const TOKEN_KEY = "genrescope token";
const UNREACHABLE = {
  code: "offline",
  detail: "The server cannot be reached.",
  hint: "Check your connection, and that `genrescope serve` is running; then try again.",
};

export function storeToken(token) {
  sessionStorage.setItem(TOKEN_KEY, token);
}

export function models() {
  return request("/v1/models");
}

export function classify(file, name, model) {
  const options = new URLSearchParams({ timeline: "true", tags: "true" });
  if (model) options.set("model", model);
  const form = new FormData();
  form.append("file", file, name);
  return request(`/v1/classify?${options}`, { method: "POST", body: form });
}

/** Return the example: a File, which the package has. */
export async function example() {
  try {
    const response = await fetch("/static/example.mp3");
    if (!response.ok) throw new Error(response.statusText);
    return new File([await response.blob()], "example.mp3", { type: "audio/mpeg" });
  } catch {
    throw new Problem(UNREACHABLE);
  }
}

async function request(address, init = {}) {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  let response;
  try {
    response = await fetch(address, { ...init, headers });
  } catch {
    throw new Problem(UNREACHABLE);
  }
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  throw new Problem({
    code: body.code ?? `http_${response.status}`,
    detail: body.detail ?? `The server answered with status ${response.status}.`,
    hint: body.hint ?? "Try again in a moment.",
    status: response.status,
    wait: Number(response.headers.get("Retry-After")) || 0,
  });
}
