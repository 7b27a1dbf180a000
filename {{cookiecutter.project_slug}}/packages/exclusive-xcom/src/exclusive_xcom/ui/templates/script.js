"use strict";
(() => {
  // As bright or dark as Airflow around this page, also while somebody switches it.
  const outside = () => {
    try { return parent !== window ? parent : null; } catch { return null; }
  };
  const theme = () => {
    try {
      const names = outside()?.document.documentElement.classList;
      if (names?.contains("dark")) return "dark";
      if (names?.contains("light")) return "light";
    } catch { /* another origin's */ }
    try { return localStorage.getItem("theme"); } catch { return null; }
  };
  const ground = () => {
    try {
      for (const each of [outside()?.document.body, outside()?.document.documentElement]) {
        const colour = each && parent.getComputedStyle(each).backgroundColor;
        if (colour && !colour.startsWith("rgba(0, 0, 0, 0")) return colour;
      }
    } catch { /* another origin's */ }
    return "";
  };
  const follow = () => {
    const found = theme();
    if (found === "light" || found === "dark") document.documentElement.dataset.theme = found;
    else delete document.documentElement.dataset.theme;
    document.body.style.backgroundColor = ground();
  };
  follow();
  addEventListener("storage", follow);
  try {
    const options = { attributes: true, attributeFilter: ["class", "data-theme"] };
    if (outside()) new MutationObserver(follow).observe(parent.document.documentElement, options);
  } catch { /* another origin's */ }

  const copied = async (text) => {
    try { await navigator.clipboard.writeText(text); return true; } catch { /* not in every frame */ }
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "hidden";
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (button) {
      const done = await copied(button.dataset.copy);
      button.focus();
      button.textContent = done ? "copied" : "select it by hand";
      document.getElementById("said").textContent = done ? `${button.dataset.what} copied` : "It could not be copied";
      setTimeout(() => { button.textContent = "copy"; }, 2000);
      return;
    }
    // A frame may not lead the whole window away. Airflow's own document may.
    const link = event.target.closest("a[data-airflow]");
    const plain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.button);
    if (link && plain && outside()) {
      event.preventDefault();
      const way = parent.document.createElement("a");
      way.href = link.href;
      parent.document.body.append(way);
      way.click();
      way.remove();
    }
  });
})();
