// Everything a page needs; each module works on what it finds and does nothing where it finds nothing.
import './ages.js';
import './live.js';
import './forms.js';
import './dialogs.js';
import './palette.js';
import './copy.js';
import './tabs.js';
