// Tables of class "sortable": a click on a heading sorts by that column. Without this script they are plain tables.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (body.rows[0].cells[column].querySelector("svg")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const text = (row) => row.cells[column].textContent.replaceAll(",", "");
    const amount = (row) => (Number.isNaN(parseFloat(text(row))) ? -1 : parseFloat(text(row)));
    const numeric = head.classList.contains("num");
    const compare = (one, other) => (numeric ? amount(one) - amount(other) : text(one).localeCompare(text(other)));
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      body.append(...[...body.rows].sort((one, other) => compare(one, other) * (up ? 1 : -1)));
    });
  });
}
