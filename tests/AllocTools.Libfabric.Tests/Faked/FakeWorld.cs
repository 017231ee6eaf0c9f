using System.Collections.Concurrent;
using System.Globalization;
using AllocTools.Endpoints;
using AllocTools.Regions;
using Microsoft.Extensions.Logging;
using Xunit;
using Xunit.Sdk;

namespace AllocTools.Libfabric.Tests.Faked;

/// <summary>
/// A fabric of the fake libfabric, with all that is opened on it. Disposing it asserts that nothing is left open and
/// nothing was misused.
/// </summary>
internal sealed class FakeWorld : IDisposable
{
    private static readonly ConcurrentDictionary<string, FakeWorld> Worlds = new();
    private static readonly AsyncLocal<FakeWorld?> Current = new();
    private static int s_worlds;
    private const int MostFailures = 5;
    private readonly ConcurrentQueue<string> _failures = [];
    private readonly FakeLibrary _library;
    private readonly string _text;

    static FakeWorld() => AppDomain.CurrentDomain.FirstChanceException += static (_, thrown) =>
    {
        if (Current.Value is { } world)
            world.Note(thrown.Exception);
    };

    /// <param name="mode">The demands of its provider.</param>
    /// <param name="maxMessage">The longest message, in bytes.</param>
    /// <param name="depth">The number of operations that are accepted at a time.</param>
    /// <param name="limit">The number of bytes that may be registered.</param>
    /// <param name="delivers">Whether it supports FI_DELIVERY_COMPLETE.</param>
    /// <param name="hasSmallTables">Whether tables of functions end after the last function that is needed.</param>
    /// <param name="hasWaitObjects">Whether a completion queue has a descriptor to wait on.</param>
    /// <param name="isStrict">Whether its address vector forgets only peers that were used, like that of sockets in
    /// libfabric 2.x.</param>
    /// <param name="flushesOnError">Whether a call that accepts nothing starts the operations posted with FI_MORE, as
    /// fi_msg(3) demands since libfabric 2.5.</param>
    /// <param name="progress">Who makes progress for the endpoints that are opened.</param>
    /// <param name="library">The library that it belongs to; null for the default one.</param>
    public FakeWorld(
        FakeMode mode, long maxMessage = 1 << 20, long depth = 1 << 20, long limit = long.MaxValue, bool delivers = true, bool hasSmallTables = false, bool hasWaitObjects = true, bool isStrict = false, bool flushesOnError = true, RmaProgress progress = RmaProgress.Endpoint, FakeLibrary? library = null)
    {
        _library = library ?? FakeLibrary.Default;
        Mode = mode;
        Progress = progress;
        Name = string.Create(CultureInfo.InvariantCulture, $"w{Interlocked.Increment(ref s_worlds)}");
        _text = string.Create(
            CultureInfo.InvariantCulture,
            $"{Name}:mr={mode.MrMode};key={mode.KeySize};msg={maxMessage};depth={depth};limit={limit};delivery={(delivers ? 1 : 0)};small={(hasSmallTables ? 1 : 0)};wait={(hasWaitObjects ? 1 : 0)};strict={(isStrict ? 1 : 0)};flush={(flushesOnError ? 1 : 0)}");
        Worlds[Name] = this;
        Current.Value = this;
    }

    /// <summary>Gets its name, which tests accept in place of a fabric's name.</summary>
    public string Name { get; }

    public FakeMode Mode { get; }

    public RmaProgress Progress { get; }

    public long RegisteredBytes => _library.Open(_text)[0];

    /// <summary>Gets the number of open libfabric objects.</summary>
    public long OpenObjects => _library.Open(_text)[1..].Sum();

    public long OpenRegistrations => _library.Open(_text)[FakeLibrary.Registrations];

    /// <summary>Gets the first violation of libfabric's rules; empty if there was none.</summary>
    public string Misuse => _library.Misuse(_text);

    /// <summary>Returns <see cref="Misuse"/>, and resets it.</summary>
    public string TakeMisuse()
    {
        string misuse = Misuse;
        _library.ForgetMisuse(_text);
        return misuse;
    }

    /// <summary>Gets the number of calls of each function.</summary>
    public Dictionary<string, long> Calls => _library.Calls(_text)
        .Split('\n', StringSplitOptions.RemoveEmptyEntries)
        .Select(line => (Name: line[..line.LastIndexOf(' ')], Count: line[(line.LastIndexOf(' ') + 1)..]))
        .ToDictionary(c => c.Name, c => long.Parse(c.Count, CultureInfo.InvariantCulture));

    /// <summary>Returns the world with a name; null if the name is that of a fabric.</summary>
    public static FakeWorld? Find(string name) => Worlds.GetValueOrDefault(name);

    public LibfabricOptions Options()
    {
        LibfabricOptions options = new();
        CopyOptionsTo(options);
        return options;
    }

    public void CopyOptionsTo(LibfabricOptions options)
    {
        options.LibraryPath = _library.Path;
        options.Provider = "fake";
        options.Domain = _text;
        options.Endpoint.Progress = Progress;
    }

    public IRmaContext Open(Action<LibfabricOptions>? configure = null, ILoggerFactory? loggerFactory = null)
    {
        LibfabricOptions options = Options();
        configure?.Invoke(options);
        return new LibfabricProvider(options, loggerFactory).Open();
    }

    /// <summary>Makes the k-th call from now, among those with a name, fail with -<paramref name="error"/>.</summary>
    public void Fail(string call, int error, int k = 1) => _library.Fail(_text, call, k, -error);

    /// <summary>Holds the next call with a name until <see cref="Release"/>.</summary>
    public void Hold(string call) => _library.Fail(_text, call, 1, 0);

    /// <summary>Lets all calls return that are held now.</summary>
    public void Release() => _library.Release(_text);

    /// <summary>
    /// Flips a bit in the data of the k-th operation from now, whatever its kind. The bit is taken modulo the length of
    /// the data.
    /// </summary>
    public void Flip(int k, long bit) => _library.Flip(_text, k, bit);

    /// <summary>Gets the number of bytes moved by the operation whose data <see cref="Flip"/> changes; 0 before it.</summary>
    public long Flipped => _library.Flipped(_text);

    /// <summary>Makes it impossible to wait on the descriptors of open queues.</summary>
    public void BreakWaiting() => _library.BreakWaiting(_text);

    /// <param name="ending">How operations end from here on.</param>
    /// <param name="error">The error in their error entries, for <see cref="FakeEnding.Failed"/>; of either sign.</param>
    public void End(FakeEnding ending, int error = 0) => _library.SetEnding(_text, ending, error);

    public void AssertClean()
    {
        Assert.Equal("", Misuse);
        Assert.Equal("0 0 0 0 0 0 0 0", string.Join(' ', _library.Open(_text)));
    }

    public void Dispose()
    {
        Worlds.TryRemove(Name, out _);
        Exception? left = Record.Exception(AssertClean);
        // An earlier exception may be on its way, and this one would hide it.
        Assert.True(left is null, $"{left?.Message} Before that: {string.Join(' ', _failures)}");
    }

    /// <summary>Keeps the last exceptions, any of which may be the one that ends the test.</summary>
    private void Note(Exception thrown)
    {
        string text = $"{thrown.GetType()}: {thrown.Message}";
        // An exception that passes through many awaits is thrown in each.
        if (_failures.LastOrDefault() == text)
            return;
        _failures.Enqueue(text);
        if (_failures.Count > MostFailures)
            _failures.TryDequeue(out _);
    }
}
