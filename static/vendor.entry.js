// What the pages take from npm; hatch_build.py bundles it into static/vendor/vendor.js and vendor.css.
import "uplot/dist/uPlot.min.css";

export { io } from "socket.io-client";
export { default as uPlot } from "uplot";
