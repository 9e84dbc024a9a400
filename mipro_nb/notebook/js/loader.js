// The `_esm` of every Part: small, since each instance carries it. The bundle lives once per kernel in
// the holder model, as gzip bytes; here it is inflated, imported once per page and mounted.

const NOT_LIVE = "The run is not live here: run the cell again.";

/** The bundle behind a holder model; views that open at the same time share one promise. */
async function bundleOf(holder) {
  const cache = (globalThis.__miproBundles ??= new Map());
  const digest = holder.get("digest");
  if (!cache.has(digest)) cache.set(digest, load(holder));
  try {
    return await cache.get(digest);
  } catch (error) {
    cache.delete(digest); // the next view may have more luck
    throw error;
  }
}

async function load(holder) {
  const stream = new Blob([holder.get("code")]).stream().pipeThrough(new DecompressionStream("gzip"));
  const source = await new Response(stream).text();
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  try {
    return await import(/* @vite-ignore */ url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

async function holderOf(model) {
  const reference = model.get("_code");
  if (typeof reference !== "string") return reference ?? null;
  return model.widget_manager.get_model(reference.slice("IPY_MODEL_".length));
}

async function render({ model, el }) {
  try {
    const holder = await holderOf(model);
    if (!holder?.get("code")?.byteLength) throw new Error("no holder");
    const { mount } = await bundleOf(holder);
    let specs = {};
    try {
      specs = JSON.parse(holder.get("specs") || "{}");
    } catch {
      // the chart says that it has no description; the rest of the view works
    }
    return mount({ model, el, specs });
  } catch {
    const line = document.createElement("p");
    line.textContent = NOT_LIVE;
    el.replaceChildren(line);
    return () => line.remove();
  }
}

export default { render };
