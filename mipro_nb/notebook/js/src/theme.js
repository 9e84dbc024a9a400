// Light or dark, as the front end says it, and the colours that Vega's axes need as values.

/** Is the page dark? JupyterLab, Notebook and Voila say so; VS Code and Colab in their own way; else the system. */
export function isDark() {
  const { body, documentElement: html } = document;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false";
  const code = body.dataset.vscodeThemeKind ?? body.className;
  if (code.includes("vscode-dark") || code === "vscode-high-contrast") return true;
  if (code.includes("vscode-light")) return false;
  if (html.getAttribute("theme")) return html.getAttribute("theme") === "dark";
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Call `handler(dark)` now and at every change of theme; returns a function that stops watching. */
export function watchTheme(handler) {
  let last = null;
  const check = () => {
    const dark = isDark();
    // another theme of the same lightness has other colours too
    const name = `${dark} ${document.body.dataset.jpThemeName ?? ""}`;
    if (name !== last) {
      last = name;
      handler(dark);
    }
  };
  const observer = new MutationObserver(check);
  const options = { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind", "class", "theme"] };
  observer.observe(document.body, options);
  observer.observe(document.documentElement, options);
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", check);
  check();
  return () => {
    observer.disconnect();
    media.removeEventListener("change", check);
  };
}

/** Colours and fonts of the root, as values that a canvas understands. */
export function inks(root) {
  const probe = document.createElement("span");
  probe.className = "mipro-probe";
  root.append(probe);
  const style = getComputedStyle(probe);
  const found = { ink: style.color, line: style.borderTopColor, paper: style.backgroundColor, font: style.fontFamily, dark: root.dataset.miproTheme === "dark" };
  probe.remove();
  return found;
}
