/**
 * The pages behind an approval link: one that asks, one that says what came of it. Plain HTML that needs no script, in
 * the dashboard's clothes. Everything that comes from events is escaped by the template, and characters that hide or
 * reorder text are written out, so that what a person approves is what they read.
 */
import { html } from 'hono/html';
import type { LinkLook, LinkUse } from '../../supabase/client/schemas/rows.js';
import { isDryRun } from './shown-template.js';

type Html = ReturnType<typeof html>;

/** A page without script that loads our style and sends its one form to us. */
export const linkPolicy = [
  "default-src 'none'",
  "style-src 'self'",
  "img-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ');

/** Controls, format characters (bidi, zero width) and line separators; tab and newline stay. */
const unseen = /(?![\t\n])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
const visible = (text: string): string =>
  text.replaceAll(
    unseen,
    (c) => `<U+${(c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}>`,
  );

/** `2026-11-20 08:00 UTC`. */
const inWords = (at: string): string => `${new Date(at).toISOString().slice(0, 16).replace('T', ' ')} UTC`;

const words = { approve: 'Approve', reject: 'Reject' };

/** What the link would do, and the button that does it. */
export function askPage(look: LinkLook): Html {
  const word = words[look.verdict];
  return page(
    `${word}?`,
    html`<h2>${word} this proposal? <span class="pill">risk ${look.risk ?? 'unknown'}</span></h2>
      <p><strong>${visible(look.title ?? 'without title')}</strong></p>
      <p class="meta">${visible(look.reason ?? '')}</p>
      ${isDryRun(look.template) ? html`<p class="note">A dry run: it goes through every state, and no executor is called.</p>` : ''}
      <ol class="steps">${stepsOf(look.template).map(step)}</ol>
      <form method="post">
        <label for="reason">Reason <span class="quiet">(kept with the proposal, may be empty)</span></label>
        <textarea id="reason" name="reason" rows="2" maxlength="2000"></textarea>
        <p class="actions"><button type="submit" class="primary">${word}</button></p>
      </form>
      <p class="meta">Signed as ${visible(look.actor)}. This link works once, until ${inWords(look.expires_at)}. To do nothing, close the page.</p>`,
  );
}

/** The link does nothing any more. */
export const endedPage = (look: LinkLook): Html =>
  page(
    'Nothing to do',
    html`<h2>Nothing to do here</h2>
      <p>${sentence(look.why_not ?? '')}</p>
      <p class="meta"><strong>${visible(look.title ?? '')}</strong> ${look.status?.replace('_', ' ') ?? ''}</p>`,
  );

const outcomes = {
  approved: 'Approved',
  auto_approved: 'Approved',
  rejected: 'Rejected',
  voting: 'Counted',
  pending: 'Waiting',
  expired: 'Expired',
};

export const donePage = ({ status, reason, id }: LinkUse): Html =>
  page(
    outcomes[status],
    html`<h2 role="status">${outcomes[status]}</h2>
      <p>${sentence(reason ?? status)}</p>
      <p class="meta">Proposal ${id}. You can close this page.</p>`,
  );

export const failedPage = (message: string, hint: string | undefined, requestId: string): Html =>
  page(
    'Not done',
    html`<h2 role="alert">Nothing was decided</h2>
      <p>${sentence(message)}</p>
      <p>${visible(hint ?? '')}</p>
      <p class="meta">Request ${requestId}</p>`,
  );

const page = (title: string, content: Html): Html => html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <meta name="robots" content="noindex">
    <title>${title} · Ops-Loop</title>
    <link rel="icon" href="/dashboard/icon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="/dashboard/style.css">
  </head>
  <body>
    <header><h1><img src="/dashboard/icon.svg" alt="" width="28" height="28"> Ops-Loop</h1></header>
    <main><section class="card">${content}</section></main>
  </body>
</html>`;

const sentence = (text: string): string => {
  const shown = visible(text);
  return `${shown.slice(0, 1).toUpperCase()}${shown.slice(1)}${/[.!?]$/.test(shown) ? '' : '.'}`;
};

type Step = Record<string, unknown>;

function stepsOf(template: unknown): Step[] {
  const steps = (template as { steps?: unknown } | null)?.steps;
  return Array.isArray(steps)
    ? steps.filter((one): one is Step => typeof one === 'object' && one !== null)
    : [];
}

/** All that a step says is what an approval holds for, so all of it is shown. */
function step({ kind, executor, params, ...rest }: Step): Html {
  const by = executor === undefined || executor === kind ? '' : ` by ${String(executor)}`;
  return html`<li><strong>${visible(String(kind))}${visible(by)}</strong>${[
    ...Object.entries((params as Step | undefined) ?? {}),
    ...Object.entries(rest),
  ].map(([name, value]) => html`<code>${visible(name)}: ${visible(textOf(value))}</code>`)}</li>`;
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));
