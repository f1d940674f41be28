# llmproxy as an image: its arguments are the program's, so that
#   docker run -v $HOME/litellm:/litellm -p 10080:10080 llmproxy --config /litellm/config.yaml --port 10080 --
# runs as it did with LiteLLM's image.

FROM python:3.12-slim AS build
WORKDIR /src
COPY requirements.lock requirements-build.lock ./
RUN python -m venv /opt/llmproxy && /opt/llmproxy/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
RUN python -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY proxy_cli proxy_cli
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /opt/wheel .
RUN /opt/llmproxy/bin/pip install --no-cache-dir --no-deps /opt/wheel/*.whl

FROM python:3.12-slim
RUN useradd --uid 10001 --create-home llmproxy
COPY --from=build /opt/llmproxy /opt/llmproxy
# A container's log is read as it is written, and its file system may be read-only.
ENV PATH=/opt/llmproxy/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that a cluster which forbids root can see that this is not root.
USER 10001
WORKDIR /home/llmproxy
EXPOSE 4000
ENTRYPOINT ["llmproxy"]
