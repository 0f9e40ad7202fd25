"""How the page looks: nothing is loaded, it follows the system's light or dark, and it fits a phone."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5c656e; --line: #d8dce0; --back: #ffffff; --raised: #f5f6f8;
  --link: #0060a8; --warn: #8a5200; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e7ea; --soft: #9aa4ae; --line: #363c43; --back: #15181b; --raised: #1f2327; --link: #6cb6ff;
    --warn: #e8b05c; }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1.25rem 4rem; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.35rem; margin: 3rem 0 .75rem; padding-top: .75rem; border-top: 2px solid var(--line); }
h3 { font-size: 1.05rem; margin: 2.25rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--line); }
a { color: var(--link); }
nav { background: var(--raised); border-radius: 8px; padding: .75rem 1rem; margin: 1.5rem 0; }
nav ul { margin: .25rem 0; padding-left: 1.1rem; }
nav ul ul { columns: 22rem; font-size: .9rem; }
nav li { break-inside: avoid; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin-block: .75rem; }
dt { color: var(--soft); }
dd { margin: 0; min-width: 0; }
.scroll { overflow-x: auto; margin-block: .9rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
td { min-width: 4rem; max-width: 28rem; text-wrap: pretty; }
td:first-child { min-width: 11rem; }
td.number { white-space: nowrap; }
ul.notes { margin: .6rem 0; padding-left: 1.2rem; font-size: .92rem; color: var(--soft); }
pre { background: var(--raised); border-radius: 6px; padding: .7rem .9rem; overflow-x: auto; margin-block: .6rem; }
code, pre { font: .84rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
details { margin: .5rem 0; }
details > :not(summary) { margin-left: 1rem; }
summary { cursor: pointer; color: var(--link); }
figure { margin-block: .9rem; margin-inline: 0; min-width: 0; }
figure img { display: block; width: 100%; max-width: 60rem; height: auto; background: #fff; border-radius: 6px; }
figure video { display: block; width: 100%; max-width: 24rem; border-radius: 6px; background: #000; }
figcaption, .missing { color: var(--soft); font-size: .85rem; margin-top: .3rem; }
.missing { color: var(--warn); }
.beside { display: flex; flex-wrap: wrap; gap: 0 1.25rem; align-items: flex-start; }
.beside figure { flex: 1 1 18rem; }
.beside figure.picture { flex: 2 1 26rem; max-width: 46rem; }
@media (max-width: 40rem) {
  body { padding: 1rem .8rem 3rem; }
  td:first-child { min-width: 9rem; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .45rem; }
  details > :not(summary) { margin-left: .3rem; }
  .beside figure, .beside figure.picture { flex-basis: 100%; }
}
"""
