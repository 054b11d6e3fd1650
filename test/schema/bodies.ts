/** Reads the bodies of functions as words: what the catalog keeps of them is text. */

/** Without comments and without what stands in quotes; places stay as they are. */
export function readable(body: string): string {
  const blank = (text: string): string => text.replaceAll(/[^\n]/g, ' ');
  return body.replaceAll(/--[^\n]*|\/\*.*?\*\/|'(?:[^']|'')*'/gs, blank);
}

/** Our objects without a schema: `from ops_policy`, `ops_clock()`. */
export function unqualified(body: string): string[] {
  const found = [
    ...body.matchAll(/\b(?:from|join|into|update|table)\s+(?:only\s+)?(ops_\w+)\b(?!\s*\.)/gi),
    ...body.matchAll(/(?<![.\w])(ops_\w+)\s*\(/g),
  ].map(([, name = '']) => name);
  const named = new Set(
    [...body.matchAll(/\b(ops_\w+)\s*(?:\([^()]*\)\s*)?as\s+(?:not\s+)?(?:materialized\s+)?\(/gi)].map(
      ([, name]) => name,
    ),
  );
  return [...new Set(found)].filter((name) => !named.has(name));
}

/** `update` and `delete` without a WHERE of their own. */
export function wholeTable(body: string): string[] {
  const starts = [
    ...body.matchAll(/\b(?:delete\s+from|(?<!for\s+(?:no\s+key\s+)?)update)\s+(?:only\s+)?public\.(\w+)/gi),
  ];
  return starts
    .filter(({ index, 0: text }) => !hasWhere(body.slice(index + text.length)))
    .map(([text]) => text.replaceAll(/\s+/g, ' '));
}

/** Looks to the end of the statement: a semicolon, or the bracket that it stands in. */
function hasWhere(rest: string): boolean {
  let depth = 0;
  for (const [token] of rest.matchAll(/[();]|\bwhere\b/gi)) {
    if (token === '(') depth++;
    else if (token === ')') depth--;
    else if (depth === 0) return token !== ';';
    if (depth < 0) return false;
  }
  return false;
}
