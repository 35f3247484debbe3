"use strict";
const form = document.getElementById("token-form");
const said = document.getElementById("said");
const routes = document.getElementById("routes");
function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
function show(api) {
  routes.replaceChildren();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const details = document.createElement("details");
      details.append(element("summary", `${method.toUpperCase()} ${path}: ${operation.summary}`));
      details.append(element("pre", JSON.stringify(operation, null, 2)));
      routes.append(details);
    }
  }
  said.textContent = `${api.info.title} ${api.info.version}`;
}
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = document.getElementById("token").value.trim();
  said.textContent = "…";
  try {
    const answer = await fetch("openapi.json", { headers: { Authorization: `Bearer ${token}` } });
    const body = await answer.json();
    if (answer.ok) { show(body); } else { said.textContent = `${answer.status}: ${body.detail}`; }
  } catch (error) {
    said.textContent = String(error);
  }
});
