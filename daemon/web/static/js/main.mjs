/** Opens the page: the token where one is asked for, how everything is, and then what changes. */
import { get, post, Refused } from './api.mjs';
import { askAbout, offerCameras, setUsualQuestion } from './ask.mjs';
import { showEngine, showSpeed, showStatus, showUpdate } from './board.mjs';
import { byId, setText } from './dom.mjs';
import { addSample, showSamples } from './plots.mjs';
import { showPlugin } from './plugins.mjs';
import { noteOnStream, notePartial, onAskAbout, showStreams } from './streams.mjs';
import { noteOnTimeline, showTimeline } from './timeline.mjs';

/** @typedef {import('../../types.js').Snapshot} Snapshot */
/** @typedef {import('../../types.js').StatusView} StatusView */

const retryMs = 3000;
const connection = byId('connection', HTMLElement);
const app = byId('app', HTMLElement);
const login = byId('login', HTMLElement);
const token = byId('token', HTMLInputElement);
const loginProblem = byId('login-problem', HTMLElement);
const logout = byId('logout', HTMLButtonElement);
/** @type {EventSource | undefined} */
let source;
let phase = '';
let broker = '';

/**
 * @param {string} text
 * @param {'good' | 'wait' | 'bad'} tone
 */
function say(text, tone) {
  setText(connection, text);
  connection.dataset['tone'] = tone;
}

function sayState() {
  if (phase === 'failed' || phase === 'stopped') say(`model ${phase}`, 'bad');
  else if (phase !== 'ready') say(`model ${phase}`, 'wait');
  else if (broker !== 'connected') say('broker offline', 'bad');
  else say('ready', 'good');
}

/** @param {StatusView} status */
function status(status) {
  broker = status.broker;
  showStatus(status);
  showStreams(status.streams);
  offerCameras(status.streams);
  sayState();
}

/** @param {import('../../types.js').EngineView} view */
function engine(view) {
  phase = view.phase;
  showEngine(view);
  if (view.model !== null) setUsualQuestion(view.model.question);
  sayState();
}

/** @param {Snapshot} snapshot */
function show(snapshot) {
  setText(byId('node', HTMLElement), snapshot.node);
  setText(byId('version', HTMLElement), snapshot.version);
  document.title = `${snapshot.node} · hearth`;
  engine(snapshot.engine);
  showUpdate(snapshot.update);
  status(snapshot.status);
  for (const plugin of snapshot.plugins) showPlugin(plugin);
  showSamples(snapshot.samples);
  const [last] = snapshot.samples.slice(-1);
  if (last !== undefined) showSpeed(last);
  for (const event of snapshot.events) noteOnStream(event);
  showTimeline(snapshot.events);
  logout.hidden = !snapshot.login;
  login.hidden = true;
  app.hidden = false;
}

/** @param {string} after */
function follow(after) {
  source?.close();
  const opened = new EventSource(`ui/events?after=${encodeURIComponent(after)}`);
  source = opened;
  /**
   * @param {string} name
   * @param {(data: any) => void} handler
   */
  const on = (name, handler) => opened.addEventListener(name, (event) => handler(JSON.parse(event.data)));
  on('event', (event) => {
    noteOnStream(event);
    noteOnTimeline(event);
  });
  on('stream', (view) => {
    showStreams([view]);
    offerCameras([view]);
  });
  on('partial', notePartial);
  on('plugin', showPlugin);
  on('update', showUpdate);
  on('status', status);
  on('sample', (sample) => {
    addSample(sample);
    showSpeed(sample);
  });
  on('engine', engine);
  on('reset', () => void open());
  opened.addEventListener('open', sayState);
  opened.addEventListener('error', () => {
    say('reconnecting', 'wait');
    // A lost connection is made again by itself; a refusal is not.
    if (opened.readyState === EventSource.CLOSED && source === opened) window.setTimeout(() => void open(), retryMs);
  });
}

async function open() {
  source?.close();
  source = undefined;
  try {
    /** @type {Snapshot} */
    const snapshot = await get('ui/state');
    show(snapshot);
    follow(snapshot.last_id);
  } catch (error) {
    if (error instanceof Refused && error.status === 401) askForToken();
    else {
      say('not reached', 'bad');
      window.setTimeout(() => void open(), retryMs);
    }
  }
}

function askForToken() {
  say('signed out', 'wait');
  app.hidden = true;
  logout.hidden = true;
  login.hidden = false;
  token.focus();
}

byId('login-form', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault();
  setText(loginProblem, '');
  post('ui/login', { token: token.value })
    .then(async () => {
      token.value = '';
      await open();
      byId('main', HTMLElement).focus();
    })
    .catch((error) => {
      const wrong = error instanceof Refused && error.status === 401;
      setText(loginProblem, wrong ? 'That is not the token.' : error.message);
      token.select();
    });
});

logout.addEventListener('click', () => {
  void post('ui/logout', {}).then(() => location.reload());
});

onAskAbout(askAbout);
void open();
