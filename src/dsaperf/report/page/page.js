// Draws every picture of the page. Colours that depend on the theme are CSS variables, which SVG takes
// over by itself: dark mode and printing need no second drawing.
(() => {
  'use strict';
  const config = {
    background: 'transparent',
    font: 'system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif',
    view: {stroke: 'transparent'},
    axis: {
      labelColor: 'currentColor', titleColor: 'currentColor', titleFontWeight: 'normal', tickColor: 'var(--line)',
      domainColor: 'var(--line)', gridColor: 'var(--line)', labelFontSize: 12, titleFontSize: 12, labelLimit: 170
    },
    legend: {labelColor: 'currentColor', titleColor: 'currentColor', orient: 'bottom', columns: 3, labelLimit: 260,
             labelFontSize: 12, titleFontSize: 12},
    header: {labelColor: 'currentColor', titleColor: 'currentColor'},
    text: {fill: 'currentColor', fontSize: 12},
    range: {category: ['#4290c2', '#cf6a35', '#4c9f70', '#b565a7', '#d1495b', '#a88a1a', '#6c8ebf', '#7f7f7f',
                       '#2a9d8f', '#9c6644']}
  };
  const cell = value => {
    if (value === null || value === undefined || value === '') return '-';
    if (typeof value === 'number' && !Number.isInteger(value)) return Number(value.toPrecision(4)).toString();
    return String(value);
  };
  const format = {
    // Values come from recordings and configs: as text, never as markup.
    sanitize: value => cell(value).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/"/g, '&quot;'),
    theme: 'custom'
  };
  // On a phone the labels of an axis leave half of the width to the picture; a legend, which starts where they end, breaks
  // before it is cut off.
  const fitted = width => ({
    ...config,
    axis: {...config.axis, labelLimit: width < 480 ? 130 : 170},
    axisX: {tickCount: width < 480 ? 4 : 8},
    legend: {...config.legend, columns: Math.min(4, Math.max(1, Math.floor((width - 130) / 200))),
             layout: {bottom: {direction: width < 560 ? 'vertical' : 'horizontal', anchor: 'start'}}}
  });
  const draw = async () => {
    let failed = 0;
    const pictures = JSON.parse(document.getElementById('pictures').textContent);
    for (const {name, spec} of pictures) {
      const place = document.getElementById('picture-' + name);
      try {
        await vegaEmbed(place, spec, {mode: 'vega-lite', renderer: 'svg', actions: false, config: fitted(place.clientWidth),
                                      tooltip: format});
      } catch (error) {
        failed += 1;
        place.classList.add('failed');
        place.textContent = 'This picture could not be drawn (' + error.message + '); its table is below.';
        console.error(name, error);
      }
    }
    document.documentElement.dataset.drawn = pictures.length - failed;
    document.documentElement.dataset.failed = failed;
  };
  draw();
})();
