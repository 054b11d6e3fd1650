/** The page: reads the overview every two seconds, shows it, and carries a person's word back. */
import * as api from './api.js';
import { showBoard } from './board.js';
import * as draw from './draw.js';

const { byId, make } = draw;
const pollMs = 2_000;
let paused = false;
let timer;
let updatedAt;

async function refresh() {
  clearTimeout(timer);
  if (paused || document.hidden) return;
  try {
    show(await api.overview());
  } catch (error) {
    if (error.status === 401 || error.status === 403) return askToSignIn();
    complain(error);
  }
  // One timer: a call that came while another ran replaces it.
  clearTimeout(timer);
  timer = setTimeout(refresh, pollMs);
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
  byId('environment').textContent = `${draw.visible(overview.environment)} ${draw.visible(overview.version)}`;
  showBoard(overview, { explain, askVerdict });
}

/** The sentences are the answer; a trace that cannot be drawn must not keep them back. */
async function explain(id) {
  try {
    const [explanation, root] = await Promise.all([api.why(id), api.trace(id).catch(() => undefined)]);
    byId('detail-title').textContent = `Why: ${explanation.kind} ${explanation.id}`;
    byId('detail-sentences').replaceChildren(
      ...explanation.sentences.map((sentence) => make('li', {}, sentence)),
    );
    byId('detail-trace').replaceChildren(
      root === undefined ? make('li', { class: 'none' }, 'No trace could be read.') : draw.drawTrace(root),
    );
    byId('detail').showModal();
  } catch (error) {
    report(error);
  }
}

/** Shows exactly what would run before a word is given. */
function askVerdict(word, proposal, title) {
  byId('verdict-title').textContent = `${word}: ${draw.visible(title)}`;
  byId('verdict-steps').replaceChildren(...proposal.steps.map(draw.drawStep));
  byId('verdict-reason').value = '';
  byId('verdict-confirm').textContent = word;
  byId('verdict-form').onsubmit = (event) => {
    event.preventDefault();
    giveVerdict(word, proposal, title);
  };
  byId('verdict').showModal();
  byId('verdict-reason').focus();
}

async function giveVerdict(word, proposal, title) {
  const confirm = byId('verdict-confirm');
  confirm.disabled = true;
  try {
    const { status, reason } = await api.decide(
      proposal.id,
      word.toLowerCase(),
      byId('verdict-reason').value.trim(),
    );
    say('said', `${title}: ${reason ?? draw.words(status)}.`);
  } catch (error) {
    report(error);
  }
  confirm.disabled = false;
  byId('verdict').close();
  await refresh();
}

function signedIn(yes) {
  byId('board').hidden = !yes;
  byId('pause').hidden = !yes;
  byId('leave').hidden = !yes;
  byId('sign-in').hidden = yes;
}

function askToSignIn() {
  signedIn(false);
  byId('link').focus();
}

/** Takes the token out of a link or of this page's own address, where it must not stay. */
const tokenOf = (text) => text.split('#key=').at(-1).trim();

async function enter(token) {
  try {
    await api.signIn(token);
    setPaused(false);
    say('said', '');
  } catch (error) {
    report(error);
  }
  await refresh();
}

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
byId('leave').addEventListener('click', () => api.signOut().then(askToSignIn, report));
byId('verdict-cancel').addEventListener('click', () => byId('verdict').close());
byId('sign-in-form').addEventListener('submit', (event) => {
  event.preventDefault();
  enter(tokenOf(byId('link').value));
});
byId('look-form').addEventListener('submit', (event) => {
  event.preventDefault();
  explain(byId('look-id').value.trim());
});
document.addEventListener('visibilitychange', refresh);

if (location.hash.startsWith('#key=')) {
  const token = tokenOf(location.hash);
  history.replaceState(null, '', location.pathname);
  enter(token);
} else refresh();
