"""The page of the simulated chat: our own few lines, which make the requests that NextChat's page makes."""

from __future__ import annotations

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>SIMULATED chat</title>
<link rel="stylesheet" href="/_next/static/css/simulated.css">
<link rel="manifest" href="/site.webmanifest">
<script src="/serviceWorkerRegister.js" defer></script>
<script src="/_next/static/chunks/simulated.js" defer></script>
</head>
<body>
<header><strong>SIMULATED chat</strong> <span id="model" aria-live="polite">loading…</span></header>
<main id="log" aria-live="polite"></main>
<form id="form"><label for="text">Message</label>
<textarea id="text" rows="2" required placeholder="Ask something; the answer is simulated"></textarea>
<button type="submit" disabled>Send</button></form>
</body>
</html>
"""

STYLE = """:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 0; display: flex; flex-direction: column; min-height: 100vh }
header { padding: .75rem 1rem; border-bottom: 1px solid color-mix(in srgb, currentColor 25%, transparent) }
main { flex: 1; padding: 1rem; overflow-y: auto }
main p { max-width: 46rem; margin: 0 0 1rem; white-space: pre-wrap }
main p.user { font-weight: 600 }
main p.error { color: #b3261e }
form { display: flex; gap: .5rem; padding: 1rem }
form { border-top: 1px solid color-mix(in srgb, currentColor 25%, transparent) }
form label { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%) }
textarea { flex: 1; font: inherit; padding: .5rem }
button { font: inherit; padding: .5rem 1rem }
"""

SCRIPT = """"use strict";
const find = name => document.getElementById(name);
const log = find("log"), label = find("model"), box = find("text");
const messages = [];
let model = "";
function say(kind, text) {
  const line = document.createElement("p");
  line.className = kind;
  line.textContent = text;
  log.append(line);
  line.scrollIntoView();
  return line;
}
for (const file of ["/masks.json", "/plugins.json", "/prompts.json"]) fetch(file).catch(() => {});
const action = { "Next-Action": "simulated", "Accept": "text/x-component" };
fetch("/", { method: "POST", headers: action, body: "[]" }).catch(() => {});
fetch("/api/config", { method: "POST", body: null }).then(answer => answer.json()).then(config => {
  model = config.defaultModel || "";
  label.textContent = model || "no model chosen";
  if (config.needCode) say("error", "An access code is needed here.");
}).catch(() => { label.textContent = "configuration could not be loaded"; }).finally(() => {
  // Before, a click would submit the form to the server, or ask for a model without a name.
  document.querySelector("button").disabled = false;
});
async function send(text) {
  messages.push({ role: "user", content: text });
  say("user", text);
  const line = say("assistant", "");
  const body = { messages, stream: true, model, temperature: 0.5, presence_penalty: 0, frequency_penalty: 0, top_p: 1 };
  try {
    const answer = await fetch("/api/openai/v1/chat/completions", {
      method: "POST", headers: { "Content-Type": "application/json", "Accept": "application/json, text/event-stream" },
      body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(answer.status + " " + await answer.text());
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      rest += value;
      const lines = rest.split("\\n");
      rest = lines.pop();
      for (const each of lines) {
        if (!each.startsWith("data: ") || each === "data: [DONE]") continue;
        const part = JSON.parse(each.slice(6));
        if (part.error) throw new Error(part.error.message || part.error);
        line.textContent += part.choices?.[0]?.delta?.content ?? "";
      }
    }
    messages.push({ role: "assistant", content: line.textContent });
  } catch (error) {
    line.className = "error";
    line.textContent = String(error.message || error);
  }
}
document.getElementById("form").addEventListener("submit", event => {
  event.preventDefault();
  const text = box.value.trim();
  if (text) { box.value = ""; send(text); }
});
"""
