// Stands in for vega-loader in the bundle (see build.mjs): the view never loads anything, so the
// code that could is not shipped. Rows come from the kernel through the widget's own channel.
const refuse = () => Promise.reject(new Error("the live view loads nothing"));

export const loader = () => ({ options: {}, load: refuse, sanitize: refuse, file: refuse, http: refuse });
export const read = (data) => data;
export const inferType = () => "string";
export const inferTypes = () => ({});
export const typeParsers = {};
export const format = () => read;
export const formats = () => read;
export const responseType = () => "text";
