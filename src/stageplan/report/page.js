// Texts of shapes at the pointer, at once and also where there is no pointer; before printing, tables are opened.
(() => {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const show = (event) => {
    const shape = event.target;
    const title = shape.querySelector && shape.querySelector(":scope > title");
    if (title) {
      shape.dataset.tip = title.textContent;
      shape.setAttribute("aria-label", title.textContent);
      title.remove();
    }
    const text = shape.dataset && shape.dataset.tip;
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const left = Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8);
    const below = event.clientY + 16 + tip.offsetHeight < innerHeight;
    tip.style.left = Math.max(4, left) + "px";
    tip.style.top = (below ? event.clientY + 16 : event.clientY - tip.offsetHeight - 8) + "px";
  };
  for (const kind of ["pointermove", "pointerdown"]) document.addEventListener(kind, show);
  addEventListener("scroll", () => { tip.hidden = true; });
  addEventListener("beforeprint", () => {
    for (const table of document.querySelectorAll("details")) table.open = true;
  });
})();
