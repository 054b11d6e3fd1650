/** The page: reads the overview every two seconds, shows it, and carries a person's word back. */
import * as api from './api.js';
import { showBoard } from './board.js';
import * as draw from './draw.js';

const { byId, make } = draw;
const pollMs = 2_000;
let paused = false;
let timer;
let updatedAt;
/** How often was looked, and how many sessions have ended here: an answer to what was asked before is passed over. */
let looks = 0;
let visits = 0;
/** Proposals that wait, of the latest look. */
let waiting = 0;

async function refresh() {
  clearTimeout(timer);
  if (paused || document.hidden) return;
  await look();
  // One timer: a call that came while another ran replaces it. Who is to sign in has nothing to look at.
  clearTimeout(timer);
  if (byId('sign-in').hidden) timer = setTimeout(refresh, pollMs);
}

async function look() {
  const mine = ++looks;
  try {
    const overview = await api.overview();
    if (mine === looks) show(overview);
  } catch (error) {
    if (mine !== looks) return;
    if (error.status === 401 || error.status === 403) askToSignIn(error);
    else complain(error);
  }
}

/** The banner speaks of the refresh alone: the next one that works takes it away. */
function complain(error) {
  say('banner', wordsFor(error));
  byId('updated').classList.add('stale');
}

/** What came of a person's own action stays until the next one. */
const report = (error) => say('said', wordsFor(error));

const wordsFor = (error) =>
  error instanceof api.Refused ? sentence(error) : 'The server does not answer. Trying again.';
const sentence = ({ message, hint = '' }) =>
  `${message[0].toUpperCase()}${message.slice(1)}. ${hint}`.replace('..', '.');

function say(id, text) {
  const place = byId(id);
  const shown = draw.visible(text);
  if (place.textContent !== shown) place.textContent = shown;
  if (id === 'banner') place.hidden = shown === '';
}

function show(overview) {
  signedIn(true);
  say('banner', '');
  updatedAt = new Date();
  byId('updated').classList.remove('stale');
  byId('updated').textContent = `Updated ${updatedAt.toLocaleTimeString()}`;
  waiting = overview.health.pending_proposals;
  byId('environment').textContent = `${draw.visible(overview.environment)} ${draw.visible(overview.version)}`;
  showBoard(overview, { explain, askVerdict });
}

/**
 * The sentences are the answer; a trace that cannot be drawn must not keep them back. What is refused is said at
 * `place`.
 */
async function explain(id, place = 'said') {
  const mine = visits;
  say(place, '');
  try {
    const [explanation, root] = await Promise.all([api.why(id), api.trace(id).catch(() => undefined)]);
    if (mine !== visits) return;
    byId('detail-title').textContent = `Why: ${explanation.kind} ${explanation.id}`;
    byId('detail-sentences').replaceChildren(
      ...explanation.sentences.map((sentence) => make('li', {}, sentence)),
    );
    byId('detail-trace').replaceChildren(
      root === undefined ? make('li', { class: 'none' }, 'No trace could be read.') : draw.drawTrace(root),
    );
    byId('detail').showModal();
  } catch (error) {
    if (mine === visits) say(place, wordsFor(error));
  }
}

/** Shows exactly what would run, and what makes it a person's to decide, before a word is given. */
function askVerdict(word, proposal, title) {
  byId('verdict-title').textContent = `${word}: ${draw.visible(title)}`;
  byId('verdict-risk').replaceChildren(draw.pill(`risk ${proposal.risk ?? 'unknown'}`, proposal.risk));
  byId('verdict-why').replaceChildren(make('li', {}, proposal.reason ?? 'No reason was recorded.'));
  byId('verdict-dry').hidden = !proposal.dry_run;
  byId('verdict-steps').replaceChildren(...proposal.steps.map(draw.drawStep));
  byId('verdict-reason').value = '';
  byId('verdict-confirm').textContent = word;
  byId('verdict-form').onsubmit = (event) => {
    event.preventDefault();
    giveVerdict(word, proposal, title);
  };
  byId('verdict').dataset.proposal = proposal.id;
  byId('verdict').showModal();
  // What would run is read first; the word is given from below it.
  byId('verdict-reason').focus({ preventScroll: true });
  byId('verdict').scrollTop = 0;
  tellConditions(proposal);
}

/** What of auto-approval did not hold, from the engine; until it answers the recorded reason stands there. */
async function tellConditions({ id, reason }) {
  const { approval = [] } = await api.why(id).catch(() => ({}));
  const { open, dataset } = byId('verdict');
  const sentences = approval.filter(({ ok }) => !ok).map(({ sentence }) => sentence);
  if (sentences.length === 0 || !open || dataset.proposal !== id) return;
  byId('verdict-why').replaceChildren(
    ...[reason ?? '', ...sentences].filter((said) => said !== '').map((said) => make('li', {}, said)),
  );
}

async function giveVerdict(word, proposal, title) {
  const mine = visits;
  const confirm = byId('verdict-confirm');
  const place = [...byId('proposals').children].findIndex(({ dataset }) => dataset.key === proposal.id);
  confirm.disabled = true;
  const outcome = await api
    .decide(proposal.id, word.toLowerCase(), byId('verdict-reason').value.trim())
    .then(({ status, reason }) => `${title}: ${reason ?? draw.words(status)}.`, wordsFor);
  confirm.disabled = false;
  if (mine !== visits) return;
  byId('verdict').close();
  await look();
  if (mine !== visits) return;
  goOn(place, word);
  // Behind an open dialog nothing is announced, so this comes last.
  say('said', `${outcome} ${waiting === 0 ? 'No proposal waits.' : draw.moreWait(waiting)}`);
}

/** Focus goes from a row that has left to the same button of the one in its place, or to the list's heading. */
function goOn(place, word) {
  if (document.activeElement !== document.body) return;
  const rows = byId('proposals').children;
  const row = rows[Math.min(Math.max(place, 0), rows.length - 1)];
  const button = row?.querySelector(word === 'Approve' ? '.primary' : '.danger');
  (button ?? byId('proposals-title')).focus();
}

function signedIn(yes) {
  byId('board').hidden = !yes;
  byId('pause').hidden = !yes;
  byId('leave').hidden = !yes;
  byId('sign-in').hidden = yes;
}

/** `error` is why a session that was there is not any more. */
function askToSignIn(error) {
  const here = !byId('board').hidden;
  if (here) forget();
  if (byId('sign-in').hidden) {
    signedIn(false);
    byId('link').focus();
  }
  if (here && error !== undefined) say('said', error.status === 401 ? ended : wordsFor(error));
}
/** A cookie that is out of time is not sent: to the server its holder is like any stranger. */
const ended = 'The session has ended. Open a new sign-in link to go on.';

/** What each place held before anything was shown: all that is drawn goes into one of them. */
const places = [...document.querySelectorAll('[id]')].filter(
  ({ childElementCount }) => childElementCount === 0,
);
const firstWords = new Map(places.map((place) => [place, place.textContent]));

/** Leaves nothing of a session in the page, nor lets in what is still on its way. */
function forget() {
  clearTimeout(timer);
  looks += 1;
  visits += 1;
  waiting = 0;
  updatedAt = undefined;
  setPaused(false);
  for (const dialog of document.querySelectorAll('dialog')) dialog.close();
  for (const [place, words] of firstWords) place.textContent = words;
  for (const form of document.forms) form.reset();
  say('banner', '');
  byId('updated').classList.remove('stale');
  byId('verdict-form').onsubmit = null;
  delete byId('verdict').dataset.proposal;
  document.title = 'Ops-Loop';
}

/** Takes the token out of a link or of this page's own address, where it must not stay. */
const tokenOf = (text) => text.split('#key=').at(-1).trim();

async function enter(token) {
  try {
    await api.signIn(token);
    byId('sign-in-form').reset();
    setPaused(false);
    say('said', '');
  } catch (error) {
    report(error);
  }
  await refresh();
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

function setPaused(yes) {
  paused = yes;
  byId('pause').setAttribute('aria-pressed', String(yes));
  byId('updated').textContent = yes
    ? `Paused; from ${updatedAt?.toLocaleTimeString() ?? 'never'}`
    : 'Updating';
}

byId('pause').addEventListener('click', () => {
  setPaused(!paused);
  refresh();
});
byId('leave').addEventListener('click', () => api.signOut().then(() => askToSignIn(), report));
byId('verdict-cancel').addEventListener('click', () => byId('verdict').close());
byId('sign-in-form').addEventListener('submit', (event) => {
  event.preventDefault();
  enter(tokenOf(byId('link').value));
});
byId('look-form').addEventListener('submit', (event) => {
  event.preventDefault();
  const id = byId('look-id').value.trim();
  if (uuid.test(id)) explain(id, 'look-said');
  else say('look-said', 'That is no id. One is a whole uuid such as 0f8b1c2e-8d4a-4c1b-9f3e-2a6b7c8d9e0f.');
});
document.addEventListener('visibilitychange', refresh);
// A link that is opened where the page is shown already changes the fragment and loads nothing.
addEventListener('hashchange', enterByAddress);

/** True when the address held a sign-in token; it does not any more. */
function enterByAddress() {
  if (!location.hash.startsWith('#key=')) return false;
  const token = tokenOf(location.hash);
  history.replaceState(null, '', location.pathname);
  enter(token);
  return true;
}

if (!enterByAddress()) refresh();
