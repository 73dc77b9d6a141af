// Requests to the server. An error becomes an `ApiError` with the server's own sentence.

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export async function get(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    for (const each of Array.isArray(value) ? value : [value]) if (each !== "" && each !== null && each !== undefined) query.append(key, each);
  }
  const answer = await fetch(`/api/${path}?${query}`, { signal });
  const body = await answer.json();
  if (!answer.ok) throw new ApiError(answer.status, body.error?.code, body.error?.message ?? `The server answered ${answer.status}.`);
  return body;
}

export async function post(path, body = null) {
  const answer = await fetch(`/api/${path}`, { method: "POST", body: body && JSON.stringify(body) });
  return answer.ok;
}

export function address(path, parameters) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) if (value) query.append(key, value);
  return `/api/${path}?${query}`;
}
