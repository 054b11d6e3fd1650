/**
 * From data to elements. Everything that comes from events is set as text, never as markup; characters that hide or
 * reorder text are written out, so that what a person approves is what they read.
 */

/**
 * Controls, format characters (bidi, zero width) and line separators; tab and newline stay, and what joins two pictures
 * into one (UTS #51, emoji ZWJ sequences), which hides nothing.
 */
const unseen =
  /(?![\t\n]|(?<=\p{Extended_Pictographic}[\u{FE0F}\u{1F3FB}-\u{1F3FF}]?)\u200D\p{Extended_Pictographic})[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
export const visible = (text) =>
  String(text ?? '').replace(
    unseen,
    (c) => `<U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}>`,
  );

/** Makes an element; strings among `children` become text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (name === 'onclick') element.addEventListener('click', value);
    else if (value !== undefined) element.setAttribute(name, value);
  element.append(...children.map((child) => (child instanceof Node ? child : visible(child))));
  return element;
}

export const byId = (id) => document.getElementById(id);

/**
 * Draws `items` into `parent`, one element per key. An element whose item did not change stays as it is, so focus
 * and reading position survive a refresh.
 */
export function drawList(parent, items, keyOf, draw) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const next = items.map((item) => {
    const key = keyOf(item);
    const state = JSON.stringify(item);
    const kept = old.get(key);
    if (kept?.drawnFrom === state) return kept;
    const element = draw(item);
    element.dataset.key = key;
    element.drawnFrom = state;
    return element;
  });
  if (next.length === old.size && next.every((element, i) => element === parent.children[i])) return;
  const focused = parent.contains(document.activeElement) ? document.activeElement : undefined;
  const focusKey = focused?.closest('[data-key]')?.dataset.key;
  parent.replaceChildren(...next);
  const again = next.find((element) => element.dataset.key === focusKey);
  if (focused !== undefined) (focused.isConnected ? focused : again?.querySelector('button'))?.focus();
}

/** Name and figure pairs; the note beside an empty list shows when there is none. */
export function drawPairs(parent, pairs, none) {
  drawList(
    parent,
    pairs.flatMap(([name, value, tone]) => [
      { tag: 'dt', name, text: name, tone },
      { tag: 'dd', name, text: value },
    ]),
    ({ tag, name }) => `${tag} ${name}`,
    ({ tag, text, tone }) => make(tag, { class: tone === undefined ? undefined : `tone tone-${tone}` }, text),
  );
  if (none !== undefined) none.hidden = pairs.length > 0;
}

const tones = {
  good: ['fired', 'done', 'succeeded', 'approved', 'auto_approved', 'requeued', 'healthy'],
  busy: ['running', 'processing', 'queued', 'started', 'building'],
  wait: [
    'open',
    'pending',
    'voting',
    'scheduled',
    'blocked',
    'suppressed',
    'degraded',
    'medium',
    'high',
    'validating',
  ],
  bad: [
    'failed',
    'rejected',
    'timed_out',
    'crashed',
    'unknown',
    'unhealthy',
    'critical',
    'exhausted',
    'permanent',
    'worker_crash',
  ],
};
export const toneOf = (word) => Object.keys(tones).find((tone) => tones[tone].includes(word)) ?? 'idle';

export const words = (name) => visible(name).replaceAll('_', ' ');
export const number = (n) => Number(n).toLocaleString('en');
/** What a list does not show of all that there is. */
export const more = (n) => (n > 0 ? `and ${number(n)} more` : '');
export const moreWait = (n) => `${number(n)} more ${n === 1 ? 'waits' : 'wait'}.`;

/** One stage of the loop: a bar of its statuses, and the figures in words. */
export function drawStage({ title, counts }) {
  const entries = Object.entries(counts).filter(([, n]) => n > 0);
  const total = entries.reduce((sum, [, n]) => sum + n, 0);
  const bar = make('div', { class: 'bar', 'aria-hidden': 'true' });
  for (const [status, n] of entries) {
    const part = make('span', { class: `tone-${toneOf(status)}` });
    part.style.setProperty('--share', String(n));
    bar.append(part);
  }
  const pairs = make('dl', { class: 'pairs' });
  drawPairs(
    pairs,
    entries.map(([status, n]) => [words(status), number(n), toneOf(status)]),
  );
  const heading = make('h3', {}, title, make('span', { class: 'quiet' }, number(total)));
  return make(
    'div',
    { class: 'card' },
    heading,
    bar,
    total > 0 ? pairs : make('p', { class: 'none' }, 'none yet'),
  );
}

export function span(seconds) {
  if (seconds === null || seconds === undefined) return 'never';
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} days`;
}
/** A moment a person can place, with the exact one as the tooltip. */
export const moment = (iso) =>
  make(
    'time',
    { datetime: iso, title: iso },
    new Date(iso).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' }),
  );

export const pill = (word, tone = word) => make('span', { class: `pill tone-${toneOf(tone)}` }, words(word));

/** All that an approval would hold for. */
export const drawStep = ({ key, kind, executor, params, terms }) =>
  make(
    'li',
    {},
    make('strong', {}, kind),
    executor && executor !== kind ? ` on ${visible(executor)}` : '',
    make('span', { class: 'quiet' }, ` ${visible(key)}`),
    make('code', {}, params),
    make('ul', { class: 'terms' }, ...terms.map((term) => make('li', {}, term))),
  );

export function drawTrace(node) {
  const line = make(
    'li',
    {},
    make('span', { class: 'quiet' }, `${node.kind} `),
    make('strong', {}, node.label),
    ' ',
  );
  if (node.status !== null) line.append(pill(node.status));
  if (node.children.length > 0) line.append(make('ul', {}, ...node.children.map(drawTrace)));
  return line;
}
