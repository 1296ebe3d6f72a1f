"use strict";

const DOCUMENT = "/openapi.json";

// Swagger UI names the status of a document that it could not fetch; the answer's body contains the reason.
function showReason(response) {
  if (response.ok || !response.url.endsWith(DOCUMENT)) {
    return response;
  }
  let detail = "The description of this API could not be read; try again in a moment.";
  try {
    detail = JSON.parse(response.text).detail || detail;
  } catch {
    // A proxy's own page: the sentence above has to do.
  }
  const reason = document.getElementById("reason");
  reason.textContent = detail;
  reason.hidden = false;
  return response;
}

SwaggerUIBundle({
  url: DOCUMENT,
  dom_id: "#swagger-ui",
  deepLinking: true,
  responseInterceptor: showReason,
  // Would send the document to a stranger's server.
  validatorUrl: null,
});
