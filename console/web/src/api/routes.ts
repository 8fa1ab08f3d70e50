// What each route of the API takes and answers, by the API's own description.
import type { paths } from "../../generated/api";

type Method = "get" | "post" | "patch" | "delete";

/** A path with any text in place of its parameters. */
type Filled<P extends string> = P extends `${infer Before}{${string}}${infer After}` ? `${Before}${string}${Filled<After>}` : P;

/** The description of a route; none fits a resource that the API does not have. */
type Route<M extends Method, R extends string> = {
  [P in keyof paths]: `/api/v1/${R}` extends Filled<P> ? Exclude<paths[P][M], undefined> : never;
}[keyof paths];

type Json<Of> = Of extends { content: { "application/json": infer Content } } ? Content : null;
type Good<Responses> = { [S in keyof Responses]: S extends 200 | 201 | 202 | 204 ? Json<Responses[S]> : never }[keyof Responses];

/** What comes back where nothing is wrong. */
export type Told<M extends Method, R extends string> = Route<M, R> extends { responses: infer All } ? Good<All> : never;

/** What is sent. */
export type Sent<M extends Method, R extends string> =
  Route<M, R> extends { requestBody: { content: { "application/json": infer Content } } } ? Content : never;

/** An item of a list. */
export type ItemOf<R extends string> = Told<"get", R> extends { items: readonly (infer Item)[] } ? Item : never;
