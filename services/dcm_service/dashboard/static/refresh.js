"use strict";

// Keeps the table of actions up to date: one small request a second while the page is seen.
(() => {
  const body = document.querySelector("[data-refresh]");
  const live = document.getElementById("live");
  if (!body) return;
  let last = "";

  const show = (ok) => {
    live.textContent = ok ? "live" : "reconnecting";
    live.classList.toggle("lost", !ok);
  };

  const refresh = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(body.dataset.refresh, {
        headers: { "X-Requested-With": "refresh" },
        redirect: "error",
        signal: AbortSignal.timeout(5000),
      });
      if (answer.status === 401) {
        window.location.assign("/login");
        return;
      }
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const rows = await answer.text();
      if (rows !== last) body.innerHTML = rows;
      last = rows;
      show(true);
    } catch {
      show(false);
    }
  };

  const loop = async () => {
    await refresh();
    window.setTimeout(loop, 1000);
  };
  document.addEventListener("visibilitychange", refresh);
  loop();
})();
