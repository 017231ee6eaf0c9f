using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Reflection;
using AllocTools.Libfabric;
using AllocTools.Ucx;

namespace AllocTools.Doctor.Bench;

/// <summary>Measures from either side: words are exchanged, then the rows are measured one after the other.</summary>
/// <param name="settings">The settings that both sides must agree on.</param>
/// <param name="length">The length of the measurement of each row.</param>
internal sealed class BenchRun(BenchSettings settings, BenchLength length)
{
    /// <summary>The variable that is set for a process that was started as the other side: it ends with its standard input.</summary>
    public const string ChildVariable = "ALLOCTOOLS_BENCH_CHILD";

    /// <summary>Whether this process was started as the other side.</summary>
    public static bool IsChild => Environment.GetEnvironmentVariable(ChildVariable) is { Length: > 0 };

    private static readonly TimeSpan LongestRow = BenchLength.LongestRow + TimeSpan.FromMinutes(5);

    private static readonly string Version = typeof(BenchRun).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "";

    /// <summary>Whether only tests that need no other side are measured.</summary>
    public bool IsLocal => settings.Layers is [Measurements.PoolLayer];

    /// <summary>Measures with the other side, which is at the end of a connection.</summary>
    /// <param name="other">The other side; null if it does not take part.</param>
    /// <param name="measured">Called with each row.</param>
    public async Task<List<Row>> MeasureAsync(OtherSide? other, Action<Row> measured)
    {
        List<Row> rows = [];
        await WithSideAsync(other, isTarget: false, async (side, tests) =>
        {
            foreach (string test in Measurements.Of(settings.Layers))
            {
                foreach (int size in settings.Sizes)
                {
                    if (!Measurements.IsLocal(test))
                        await AskAsync(other!, new Word { Begin = test, Size = size }).ConfigureAwait(false);
                    Row row = await tests.MeasureAsync(test, size).ConfigureAwait(false);
                    if (!Measurements.IsLocal(test))
                        await AskAsync(other!, new Word { End = true }).ConfigureAwait(false);
                    rows.Add(row);
                    measured(row);
                }
            }
            if (other is not null)
                await other.SayAsync(new Word()).ConfigureAwait(false);
        }).ConfigureAwait(false);
        return rows;

        static async Task AskAsync(OtherSide other, Word word)
        {
            await other.SayAsync(word).ConfigureAwait(false);
            _ = await other.HearAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Acts as the other side for one measurement.</summary>
    /// <param name="other">The side that measures.</param>
    /// <param name="begins">Called with the first row: both sides have agreed, and are connected.</param>
    public Task ServeAsync(OtherSide other, Action begins) => WithSideAsync(other, isTarget: true, async (side, tests) =>
    {
        bool hasBegun = false;
        while (await other.HearAsync(LongestRow).ConfigureAwait(false) is { Begin: { } test, Size: var size })
        {
            if (!Measurements.Of(settings.Layers).Contains(test) || !settings.Sizes.Contains(size))
                throw new BenchException("The other side asks for a row that was not agreed on.");
            if (!hasBegun)
                begins();
            hasBegun = true;
            var over = new TaskCompletionSource();
            Task serving = tests.ServeAsync(test, size, over.Task);
            await other.SayAsync(new Word { Begin = test, Size = size }).ConfigureAwait(false);
            Task<Word> end = other.HearAsync(LongestRow);
            if (await Task.WhenAny(end, serving).ConfigureAwait(false) == serving)
                await serving.ConfigureAwait(false);
            _ = await end.ConfigureAwait(false);
            over.SetResult();
            await serving.ConfigureAwait(false);
            await other.SayAsync(new Word { End = true }).ConfigureAwait(false);
        }
    });

    /// <summary>Waits for the other side at an address.</summary>
    public static async Task<OtherSide> AcceptAsync(IPEndPoint at, Action<IPEndPoint> listening, CancellationToken cancellationToken)
    {
        using Socket listener = new(at.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            listener.Bind(at);
            listener.Listen();
        }
        catch (SocketException e)
        {
            throw new BenchException($"--listen {at} can't be used: {e.Message}.", e);
        }
        listening((IPEndPoint)listener.LocalEndPoint!);
        Socket accepted = await listener.AcceptAsync(cancellationToken).ConfigureAwait(false);
        return new OtherSide(accepted, accepted.RemoteEndPoint!.ToString()!);
    }

    /// <summary>Connects to the other side.</summary>
    public static async Task<OtherSide> ConnectAsync(string host, int port)
    {
        Socket socket = new(SocketType.Stream, ProtocolType.Tcp);
        try
        {
            await socket.ConnectAsync(host, port).WaitAsync(TimeSpan.FromSeconds(10)).ConfigureAwait(false);
            return new OtherSide(socket, $"{host}:{port.ToString(CultureInfo.InvariantCulture)}");
        }
        catch (Exception e) when (e is SocketException or TimeoutException)
        {
            socket.Dispose();
            throw new BenchException($"{host}:{port.ToString(CultureInfo.InvariantCulture)} can't be reached: {e.Message}. Start `alloctools bench --listen` there first.", e);
        }
    }

    private async Task WithSideAsync(OtherSide? other, bool isTarget, Func<Side, Measurements, Task> run)
    {
        try
        {
            if (other is not null)
                await AgreeAsync(other).ConfigureAwait(false);
            Side side = Open(other?.LocalAddress ?? IPAddress.Loopback);
            await using (side.ConfigureAwait(false))
            {
                if (other is not null)
                {
                    await other.SayAsync(side.Prepare(isTarget)).ConfigureAwait(false);
                    await side.ConnectAsync(await other.HearAsync().ConfigureAwait(false), other.RemoteAddress, other.Gone).ConfigureAwait(false);
                }
                // No fabric reports as quickly that the other side is gone.
                using CancellationTokenRegistration gone = other?.Gone.Register(side.Stop) ?? default;
                await run(side, new Measurements(side, settings, length)).ConfigureAwait(false);
                // From here on the end of the other side is no failure.
                gone.Unregister();
            }
        }
        catch (Exception e) when (other is not null && e is not BenchException { IsTold: true })
        {
            // The transport may report that the peer is gone before this connection does.
            if (e is not BenchException && await other.IsGoneAsync().ConfigureAwait(false))
                throw await other.FindFailureAsync().ConfigureAwait(false) ?? other.GoneError;
            throw new BenchException(e.Message, e) { IsTold = await other.GiveUpAsync(e.Message).ConfigureAwait(false) };
        }
    }

    private async Task AgreeAsync(OtherSide other)
    {
        await other.SayAsync(new Word { Version = Version, Settings = settings }).ConfigureAwait(false);
        Word word = await other.HearAsync().ConfigureAwait(false);
        if (word.Version != Version)
            throw new BenchException($"The other side is alloctools {AllocToolsCommand.OneLine(word.Version ?? "of an unknown version")}, and this one is {Version}. Install the same version on both.");
        if ((word.Settings is null ? "the other one has no settings" : settings.FindDifference(word.Settings)) is { } difference)
            throw new BenchException($"The two sides do not agree: {AllocToolsCommand.OneLine(difference)}. Give both the same options.");
    }

    private Side Open(IPAddress address)
    {
        try
        {
            return new Side(settings, address);
        }
        catch (RmaException e)
        {
            bool isThere = settings.Provider == Measurements.Ucx ? UcxProvider.IsSupported : LibfabricProvider.IsSupported;
            throw new BenchException(isThere ? $"{e.Message} `alloctools doctor` lists what is here." : e.Message, e);
        }
    }
}

/// <summary>The process of the other side on this machine, which is this program with the same arguments and --listen.</summary>
internal sealed class ChildSide : IAsyncDisposable
{
    private static readonly TimeSpan LongestStart = TimeSpan.FromSeconds(60), LongestEnd = TimeSpan.FromSeconds(10);

    private readonly Process _process;

    public ChildSide()
    {
        ProcessStartInfo start = DoctorCommand.StartThisProgram("--listen", "127.0.0.1:0");
        start.Environment[BenchRun.ChildVariable] = "1";
        _process = Process.Start(start)!;
    }

    /// <summary>The identifier of the process.</summary>
    public int Id => _process.Id;

    /// <summary>Returns the address at which the process listens.</summary>
    public async Task<IPEndPoint> GetEndPointAsync()
    {
        string? line = await _process.StandardOutput.ReadLineAsync().WaitAsync(LongestStart).ConfigureAwait(false);
        return IPEndPoint.TryParse(line ?? "", out IPEndPoint? at) ? at : throw new BenchException("The second process has ended before it listened; its own words stand above.");
    }

    /// <summary>Ends the process by closing its standard input, and kills it if it does not end in time.</summary>
    public async ValueTask DisposeAsync()
    {
        _process.StandardInput.Close();
        await _process.WaitForExitAsync().WaitAsync(LongestEnd).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
            await _process.WaitForExitAsync().ConfigureAwait(false);
        }
        _process.Dispose();
    }
}
