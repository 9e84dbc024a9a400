// Builds bundle/frontend.js.gz from src/ and style.css: the same bytes from the same sources,
// anywhere. The sources' hash is in the banner, so that a test can tell a stale bundle.
//
//   npm ci && npm run build        (in a copy, or here: node_modules is kept out of git)
//   node build.mjs FOLDER          writes into FOLDER instead

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build, transform } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "bundle");

/** SHA-256 over what the bundle is made of, each file as "name NUL text NUL", in order of name. */
function hashOfSources() {
  const names = ["package.json", "style.css", ...readdirSync(join(here, "src")).map((name) => `src/${name}`)].sort();
  const hash = createHash("sha256");
  for (const name of names) hash.update(`${name}\0`).update(readFileSync(join(here, name))).update("\0");
  return hash.digest("hex").slice(0, 16);
}

/** The licenses of what is bundled, each text once, as they ask for. */
function licenses(inputs) {
  const packages = [...new Set(inputs.flatMap((input) => input.match(/^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[1] ?? []))].sort();
  const texts = new Map();
  for (const name of packages) {
    const folder = join(here, "node_modules", name);
    const text = readFileSync(join(folder, readdirSync(folder).find((file) => /^licen[cs]e/i.test(file))), "utf8").trim();
    texts.set(text, [...(texts.get(text) ?? []), name]);
  }
  const parts = [...texts].map(([text, names]) => `${names.join(", ")}\n\n${text}`);
  return `frontend.js.gz contains these packages.\n\n${parts.join(`\n\n${"-".repeat(72)}\n\n`)}\n`;
}

/** The style sheet as a string, without its comments and spaces. */
const smallCss = {
  name: "small-css",
  setup(builder) {
    builder.onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { code } = await transform(readFileSync(path, "utf8"), { loader: "css", minify: true, target: "chrome110" });
      return { contents: code.trim(), loader: "text" };
    });
  },
};

const sources = hashOfSources();
const { outputFiles, metafile } = await build({
  absWorkingDir: here,
  entryPoints: ["src/index.js"],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  alias: { "vega-loader": "./src/noloader.js" },
  define: { __SOURCES__: JSON.stringify(sources) },
  banner: { js: `/*! mipro_nb live view, sources ${sources}; includes Vega (BSD-3-Clause, University of Washington Interactive Data Lab) and D3 (ISC, Mike Bostock) */` },
  write: false,
  metafile: true,
  plugins: [smallCss],
});
const packed = gzipSync(outputFiles[0].contents, { level: 9 });
packed[9] = 255; // the byte that names the operating system: unknown. The time is 0 already
writeFileSync(join(out, "frontend.js.gz"), packed);
writeFileSync(join(out, "licenses.txt"), licenses(Object.keys(metafile.inputs)));
console.log(`${join(out, "frontend.js.gz")}: ${outputFiles[0].contents.length} bytes, ${packed.length} packed, sources ${sources}`);
