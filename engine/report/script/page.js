// Begins: every chart and table, passports, what scrolls sideways, and the change of light to dark.

for (const figure of document.querySelectorAll("figure.chart")) start(figure);
for (const element of document.querySelectorAll("table.sortable")) sortable(element);
for (const button of document.querySelectorAll("[data-opens]"))
  button.onclick = () => document.getElementById(button.dataset.opens).showModal();
for (const dialog of document.querySelectorAll("dialog"))
  dialog.querySelector("[data-closes]").onclick = () => dialog.close();
const narrow = matchMedia("(max-width: 760px)");
/** What is wider than its place: on a phone each row becomes a card; elsewhere it scrolls, by keys too, and says so. */
const reach = () => {
  for (const region of document.querySelectorAll(".scroll")) {
    const table = region.querySelector("table"), wide = () => region.scrollWidth > region.clientWidth + 1;
    if (table) cards(table, false);
    if (table && narrow.matches && region.clientWidth && wide()) cards(table, true);
    region.toggleAttribute("data-more", wide());
    if (!wide() || region.hasAttribute("tabindex")) continue;
    region.tabIndex = 0;
    region.setAttribute("role", "region");
    region.setAttribute("aria-label", `${region.querySelector("caption")?.textContent || "Table"}, scrolls sideways`);
  }
};
addEventListener("resize", reach);
document.addEventListener("toggle", reach, true);
reach();
for (const media of ["(prefers-color-scheme: dark)", "print"])
  matchMedia(media).addEventListener("change", () => {
    for (const figure of document.querySelectorAll("figure.chart")) if (figure.redraw) figure.redraw();
  });
