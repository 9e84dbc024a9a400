// Vega's runtime, trimmed: only the transforms that charts compiled by Vega-Lite from Altair
// (points, rules, lines, rects, aggregates) ask for. A spec that asks for another one fails
// with "Unrecognized transform", which the chart part shows as a text line.
import { transforms } from "vega-dataflow";
import { axisticks, datajoin, encode, legendentries, linkpath, scale, sortitems, stack } from "vega-encode";
import {
  aggregate, bin, collect, compare, expression, extent, facet, field, filter, formula, impute, joinaggregate,
  key, load, lookup, multiextent, multivalues, params, prefacet, proxy, relay, sequence, sieve, subflow, tupleindex,
  values, window as windowTransform,
} from "vega-transforms";
import { bound, identifier, mark, overlap, render, viewlayout } from "vega-view-transforms";

Object.assign(transforms, {
  aggregate, bin, collect, compare, expression, extent, facet, field, filter, formula, impute, joinaggregate,
  key, load, lookup, multiextent, multivalues, params, prefacet, proxy, relay, sequence, sieve, subflow, tupleindex,
  values, window: windowTransform,
  axisticks, datajoin, encode, legendentries, linkpath, scale, sortitems, stack,
  bound, identifier, mark, overlap, render, viewlayout,
});

export { changeset } from "vega-dataflow";
export { parse } from "vega-parser";
export { View } from "vega-view";
