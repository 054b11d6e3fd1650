import type { TraceNode } from '../../supabase/client/schemas/rows.js';
import { type Paint, paintStatus } from './colours.js';
import { oneLine } from './output.js';
import { between, span } from './times.js';

/** Longest label that leaves room for a status and a time on a wide terminal. */
const labelWidth = 90;

/** The causal tree in box characters; the time of a node is how long after the root it happened. */
export function drawTrace(root: TraceNode, paint: Paint): string {
  return [nodeLine(root, root.at, paint), ...branches(root, '', root.at, paint)].join('\n');
}

function branches(node: TraceNode, indent: string, start: string | null, paint: Paint): string[] {
  return node.children.flatMap((child, index) => {
    const last = index === node.children.length - 1;
    const line = `${indent}${paint('dim', last ? '└─ ' : '├─ ')}${nodeLine(child, start, paint)}`;
    return [line, ...branches(child, `${indent}${last ? '   ' : paint('dim', '│  ')}`, start, paint)];
  });
}

function nodeLine({ kind, label, status, at }: TraceNode, start: string | null, paint: Paint): string {
  const sinceStart = between(start, at);
  const parts = [
    paint('bold', kind),
    oneLine(label, labelWidth),
    status === null ? undefined : paintStatus(paint, status),
    sinceStart === undefined ? undefined : paint('dim', `+${span(Math.max(sinceStart, 0))}`),
  ];
  return parts.filter((part) => part !== undefined && part !== '').join('  ');
}
