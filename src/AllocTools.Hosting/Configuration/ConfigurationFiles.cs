using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Primitives;

namespace AllocTools.Hosting.Configuration;

/// <summary>Detects that a file of the host's configuration can no longer be parsed.</summary>
/// <remarks>
/// The configuration system drops the values of such a file without raising a reload, so pools would not notice, and
/// would use defaults for the missing values as soon as another file changes. The only notification is
/// <see cref="FileConfigurationSource.OnLoadException"/>: this handler is chained after the application's own handler,
/// and does not change its decision.
/// </remarks>
/// <param name="configuration">The host's configuration; null if the container has none.</param>
/// <param name="logger">Where to log.</param>
internal sealed class ConfigurationFiles(IConfiguration? configuration, ILogger logger) : IDisposable
{
    private readonly Lock _gate = new();
    private readonly ILogger _logger = logger;
    private readonly List<Action> _readers = [];
    private List<WatchedFile>? _files;

    /// <summary>Whether a file can't be parsed, so that its values are missing from the configuration.</summary>
    public bool IsAnyBroken
    {
        get
        {
            lock (_gate)
                return _files is not null && _files.Exists(f => f.IsBroken);
        }
    }

    /// <summary>Whether the section is part of the configuration whose files are watched.</summary>
    public bool Has(IConfigurationSection section) =>
        // A section has the change token of its root.
        configuration is not null && ReferenceEquals(section.GetReloadToken(), configuration.GetReloadToken());

    /// <summary>Watches the files until the reader is disposed.</summary>
    /// <param name="changed">Called when a file can't be parsed, and when one that was broken has been read again.</param>
    public IDisposable Watch(Action changed)
    {
        lock (_gate)
        {
            _files ??= [.. FilesOf(configuration).Select(f => new WatchedFile(f, this))];
            _readers.Add(changed);
        }
        return new Reader(this, changed);
    }

    public void Dispose()
    {
        lock (_gate)
            _files?.ForEach(f => f.Dispose());
    }

    private static IEnumerable<FileConfigurationProvider> FilesOf(IConfiguration? configuration) =>
        configuration is not IConfigurationRoot root
            ? []
            : root.Providers.SelectMany(provider => provider switch
            {
                FileConfigurationProvider file => [file],
                ChainedConfigurationProvider chained => FilesOf(chained.Configuration),
                _ => [],
            });

    private void TellReaders()
    {
        Action[] readers;
        lock (_gate)
            readers = [.. _readers];
        foreach (Action changed in readers)
            changed();
    }

    private sealed class Reader(ConfigurationFiles files, Action changed) : IDisposable
    {
        public void Dispose()
        {
            lock (files._gate)
                files._readers.Remove(changed);
        }
    }

    private sealed class WatchedFile : IDisposable
    {
        private readonly ConfigurationFiles _owner;
        private readonly FileConfigurationSource _source;
        private readonly Action<FileLoadExceptionContext>? _before;
        private readonly Action<FileLoadExceptionContext> _handler;
        private readonly IDisposable _loads;
        private string? _reported;
        private bool _raisesReload;
        private volatile bool _disposed;

        public WatchedFile(FileConfigurationProvider provider, ConfigurationFiles owner)
        {
            _owner = owner;
            _source = provider.Source;
            _before = _source.OnLoadException;
            _handler = NoteFailure;
            _source.OnLoadException = _handler;
            _loads = ChangeToken.OnChange(provider.GetReloadToken, NoteLoad);
        }

        public bool IsBroken { get; private set; }

        public void Dispose()
        {
            _disposed = true;
            _loads.Dispose();
            if (_source.OnLoadException == _handler)
                _source.OnLoadException = _before;
        }

        private void NoteFailure(FileLoadExceptionContext context)
        {
            _before?.Invoke(context);
            if (_disposed)
                return;
            string reason = string.Join(' ', Causes(context.Exception).Select(e => e.Message));
            bool isNews;
            lock (_owner._gate)
            {
                IsBroken = true;
                // After a failure that the application ignores, the configuration reloads without the file's values.
                _raisesReload = context.Ignore;
                isNews = _reported != reason;
                _reported = reason;
            }
            if (!isNews)
                return;
            _owner.TellReaders();
            HostingLog.FileBroken(_owner._logger, _source.Path ?? "", reason);
        }

        private void NoteLoad()
        {
            lock (_owner._gate)
            {
                if (!IsBroken || _raisesReload)
                {
                    _raisesReload = false;
                    return;
                }
                IsBroken = false;
                _reported = null;
            }
            _owner.TellReaders();
        }

        private static IEnumerable<Exception> Causes(Exception error)
        {
            for (Exception? cause = error; cause is not null; cause = cause.InnerException)
                yield return cause;
        }
    }
}
