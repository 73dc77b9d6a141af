export function show() { return {}; }
