"use strict";
fetch("/api/status").then((answer) => answer.text()).then((text) => { document.getElementById("status").textContent = text; });
