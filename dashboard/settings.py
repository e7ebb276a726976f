"""Django's settings, derived from the environment (dashboard/environment.py)."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import dj_database_url

from dashboard.environment import BASE_DIR, load

ENV = load()
_public = urlsplit(ENV.public_url)

SECRET_KEY = ENV.secret_key
DEBUG = ENV.debug
ALLOWED_HOSTS = [
    *ENV.allowed_hosts,
    str(_public.hostname),
    *(["localhost", "127.0.0.1", "[::1]"] if ENV.sqlite else []),
]
CSRF_TRUSTED_ORIGINS = [ENV.public_url]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.forms",
    "template_partials",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.usersessions",
    "dashboard.oidc",
    "deployments",
    "dashboard",
]

MIDDLEWARE = [
    "dashboard.middleware.RequestContext",
    "django.middleware.security.SecurityMiddleware",
    "dashboard.middleware.ContentSecurityPolicy",
    "dashboard.static_files.StaticFiles",
    "dashboard.middleware.CompressPages",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "dashboard.middleware.ReaderLanguage",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "dashboard.errors.DomainErrors",
]

ROOT_URLCONF = "dashboard.urls"
WSGI_APPLICATION = "dashboard.wsgi.application"
ASGI_APPLICATION = "dashboard.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "dashboard.context.shell",
            ],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

# State ------------------------------------------------------------------------------------------
DATABASES = {"default": dj_database_url.parse(ENV.database_url, conn_max_age=0)}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # A write lock taken at BEGIN waits its turn; one taken later fails at once under load.
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 60
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "deployments.User"

# The cache is the database, so that signing in needs no Redis.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "django_cache"}}
SESSION_ENGINE = "django.contrib.sessions.backends.db"

REDIS_URL = ENV.redis_url
ENCRYPTION_KEYS = ENV.encryption_keys
AUDIT_SIGNING_KEY = ENV.audit_signing_key
AUDIT_PUBLIC_KEYS = ENV.audit_public_keys
AUDIT_STREAM = ENV.audit_stream
VAR_DIR = ENV.var_dir

# Celery -----------------------------------------------------------------------------------------
CELERY_BROKER_URL = (
    REDIS_URL.replace("unix://", "redis+socket://", 1) if REDIS_URL.startswith("unix://") else REDIS_URL
)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
# Acknowledged early on purpose: the row in the database is the truth, the reaper recovers it.
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_DEFAULT_QUEUE = "control"
CELERY_TASK_CREATE_MISSING_QUEUES = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A silent broker must not hang a web request: a lost message is found again by the reaper.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 1,
    "socket_connect_timeout": 1,
    "retry_on_timeout": False,
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
    "visibility_timeout": 3600,
}
CELERY_TASK_PUBLISH_RETRY = False

# Sign-in ----------------------------------------------------------------------------------------
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "overview"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
# Signing in needs no confirmed address; matching invitations and the identity provider's accounts does
# (deployments/selectors/addresses.py). A new address replaces the old one once its link was opened.
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = "Pilothouse: "
ACCOUNT_ADAPTER = "dashboard.accounts.AccountAdapter"
ACCOUNT_FORMS = {
    "login": "dashboard.forms.sign_in.SignInForm",
    "add_email": "dashboard.forms.sign_in.NewAddressForm",
}
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_REAUTHENTICATION_REQUIRED = True  # else a borrowed session takes the account by its address
ACCOUNT_REAUTHENTICATION_TIMEOUT = 300
# The sign-in's limits are counted by address: behind a proxy the one that it forwards.
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if ENV.trusted_proxy else 0
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = "Pilothouse"
MFA_TOTP_TOLERANCE = 1
MFA_ALLOW_UNVERIFIED_EMAIL = True  # addresses come from invitations, not from a mail to confirm them
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = _public.scheme != "https"
SOCIALACCOUNT_ADAPTER = "dashboard.oidc.signin.SocialAccountAdapter"
SOCIALACCOUNT_STORE_TOKENS = False
OIDC_DISCOVERY_URL = ENV.oidc_discovery_url
OIDC_NAME = ENV.oidc_name if ENV.oidc_discovery_url else ""
OIDC_GROUPS_CLAIM = ENV.oidc_groups_claim
OIDC_ROLES = ENV.oidc_roles
SOCIALACCOUNT_PROVIDERS = {
    "oidc": {
        "APPS": [
            {
                "provider_id": "site",
                "name": OIDC_NAME,
                "client_id": ENV.oidc_client_id,
                "secret": ENV.oidc_client_secret,
                "settings": {"server_url": ENV.oidc_discovery_url},
            }
        ]
        if OIDC_NAME
        else []
    }
}

# Mail -------------------------------------------------------------------------------------------
MAIL_CONFIGURED = bool(ENV.email_url)
DEFAULT_FROM_EMAIL = ENV.mail_from
_mail = urlsplit(ENV.email_url)
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if MAIL_CONFIGURED else 'dummy'}.EmailBackend"
EMAIL_HOST = _mail.hostname or ""
EMAIL_PORT = _mail.port or (465 if _mail.scheme == "smtps" else 587 if _mail.scheme == "smtp+tls" else 25)
EMAIL_HOST_USER = unquote(_mail.username or "")
EMAIL_HOST_PASSWORD = unquote(_mail.password or "")
EMAIL_USE_SSL = _mail.scheme == "smtps"
EMAIL_USE_TLS = _mail.scheme == "smtp+tls"
EMAIL_TIMEOUT = 10

# Security ---------------------------------------------------------------------------------------
HTTPS = _public.scheme == "https"
SESSION_COOKIE_NAME = "__Host-pilothouse" if HTTPS else "pilothouse"
SESSION_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_NAME = "__Host-pilothouse-csrf" if HTTPS else "pilothouse-csrf"
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 31536000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
if ENV.trusted_proxy:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
DATA_UPLOAD_MAX_MEMORY_SIZE = 3 * 1024 * 1024
FILE_UPLOAD_MAX_MEMORY_SIZE = 3 * 1024 * 1024

# Pages ------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
# A language is listed when its catalogue is complete: a page half in another language is no help.
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]  # each by its own name
LANGUAGE_COOKIE_AGE = 365 * 86400
LANGUAGE_COOKIE_SECURE = HTTPS
LANGUAGE_COOKIE_HTTPONLY = True
LOCALE_PATHS = [BASE_DIR / "dashboard" / "locale"]
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
STATIC_ROOT = ENV.static_root or ENV.var_dir / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# Pilothouse -------------------------------------------------------------------------------------
PUBLIC_URL = ENV.public_url
CHAT_DOMAIN = ENV.chat_domain
ALLOW_LOOPBACK_CLUSTERS = bool(ENV.allow_loopback_clusters)
INSTALLATION_NAME = ENV.installation_name
PULL_STALL_SECONDS = ENV.pull_stall_seconds
GPU_SAMPLES_KEPT_DAYS = ENV.gpu_samples_kept_days
GPU_FIVE_MINUTES_KEPT_DAYS = ENV.gpu_five_minutes_kept_days
GPU_HOURS_KEPT_DAYS = ENV.gpu_hours_kept_days

SILENCED_SYSTEM_CHECKS: list[str] = []

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"context": {"()": "deployments.logs.ContextFilter"}},
    "formatters": {
        "text": {"format": "%(asctime)s %(levelname)-7s %(name)s%(context)s %(message)s"},
        "json": {"()": "deployments.logs.JsonFormatter"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "filters": ["context"],
            "formatter": ENV.log_format,
        }
    },
    "root": {"handlers": ["console"], "level": ENV.log_level},
    "loggers": {
        "django.server": {"propagate": True, "handlers": []},
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "kubernetes": {"level": "WARNING"},
    },
}
