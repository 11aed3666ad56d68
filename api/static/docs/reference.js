// The validator badge would ask another host.
SwaggerUIBundle({
  url: "/openapi/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  validatorUrl: null,
  docExpansion: "list",
});
