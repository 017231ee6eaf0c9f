using System.Buffers;
using System.Diagnostics;
using System.IO.Pipelines;
using AllocTools.Endpoints;

namespace AllocTools.Doctor.Bench;

/// <summary>The measurements, from both sides.</summary>
/// <remarks>
/// Operations are awaited as applications do it, and the endpoint's own thread makes progress. In a window the times
/// of iterations overlap: each extends from the start of a transfer until its end was awaited, in the order of their
/// starts.
/// </remarks>
internal sealed class Measurements(Side side, BenchSettings settings, BenchLength length)
{
    public const string PoolLayer = "pool", Endpoint = "endpoint", Connection = "connection";
    public const string Ucx = "ucx", Libfabric = "libfabric";

    public const string Rent = "rent/return", Write = "write", Read = "read", PingPong = "pingpong", Stream = "stream", RoundTrip = "roundtrip";

    /// <summary>The number of rents and returns in one measured iteration, because a single one takes about as long as reading the clock.</summary>
    private const int RentsAtOnce = 100;

    private const ulong Ball = 1, Over = 2;

    private IAsyncEnumerator<RmaNotification>? _notifications;

    /// <summary>Returns the tests of the layers, in the order of the report.</summary>
    public static IEnumerable<string> Of(IReadOnlyCollection<string> layers) =>
    [
        .. layers.Contains(PoolLayer) ? (string[])[Rent] : [],
        .. layers.Contains(Endpoint) ? (string[])[Write, Read, PingPong] : [],
        .. layers.Contains(Connection) ? (string[])[Stream, RoundTrip] : [],
    ];

    /// <summary>Returns the layer that a test belongs to.</summary>
    public static string LayerOf(string test) => test switch { Rent => PoolLayer, Write or Read or PingPong => Endpoint, _ => Connection };

    /// <summary>Whether a test does not involve the other side.</summary>
    public static bool IsLocal(string test) => test == Rent;

    /// <summary>Measures a row.</summary>
    public async Task<Row> MeasureAsync(string test, int size)
    {
        byte[] message = test is Stream or RoundTrip ? new byte[size] : [];
        int window = test is Write or Read or Stream ? settings.WindowOf(size) : 1;
        Meter warmUp = new(new BenchLength(length.WarmUp, TimeSpan.Zero, 0));
        Meter meter = new(length);
        if (length.WarmUp > 0)
            await RunAsync(warmUp).ConfigureAwait(false);
        meter.Start();
        await RunAsync(meter).ConfigureAwait(false);
        meter.Stop();
        if (test == PingPong)
            await side.Endpoint.WriteAsync(side.Local(0, size), side.Remote(0, size), Over).ConfigureAwait(false);
        return test == Rent
            ? new Row(test, size, window, meter.Times.Count * RentsAtOnce, 1, meter.Seconds, meter.Times.ToColumns(RentsAtOnce))
            : new Row(test, size, window, meter.Times.Count, test is PingPong or RoundTrip ? 2 : 1, meter.Seconds, meter.Times.ToColumns(test is PingPong or RoundTrip ? 2 : 1));

        Task RunAsync(Meter meter) => test switch
        {
            Rent => Task.Run(() => RentAndReturn(size, meter)),
            Write => InWindowAsync(slot => side.Endpoint.WriteAsync(side.Local(slot, size), side.Remote(slot, size)), window, meter),
            Read => InWindowAsync(slot => side.Endpoint.ReadAsync(side.Local(slot, size), side.Remote(slot, size)), window, meter),
            PingPong => PlayAsync(size, meter),
            Stream => StreamAsync(message, window, meter),
            _ => RoundTripAsync(message, meter),
        };
    }

    /// <summary>Performs the other side's part until the row is over.</summary>
    /// <param name="test">The test.</param>
    /// <param name="size">The length of a transfer.</param>
    /// <param name="over">Completes when the measuring side has everything that it needs.</param>
    public Task ServeAsync(string test, int size, Task over) => test switch
    {
        PingPong => AnswerNotificationsAsync(size),
        Stream => AnswerStreamAsync(size, answerBytes: 1, over),
        RoundTrip => AnswerStreamAsync(size, size, over),
        // The endpoint's own thread serves writes and reads.
        _ => Task.CompletedTask,
    };

    private void RentAndReturn(int size, Meter meter)
    {
        while (meter.Goes)
        {
            long start = Stopwatch.GetTimestamp();
            for (int i = 0; i < RentsAtOnce; i++)
                side.Pool.Rent(size).Dispose();
            meter.Add(start, Stopwatch.GetTimestamp());
        }
    }

    private static async Task InWindowAsync(Func<int, ValueTask> start, int window, Meter meter)
    {
        var outstanding = new (ValueTask Task, long Start)[window];
        int begun = 0, done = 0;
        while (meter.Begins(begun) || done < begun)
        {
            if (meter.Begins(begun) && begun - done < window)
            {
                int slot = begun++ % window;
#pragma warning disable CA2012 // each is awaited once, before its place is used again
                outstanding[slot] = (start(slot), Stopwatch.GetTimestamp());
#pragma warning restore CA2012
                continue;
            }
            (ValueTask task, long started) = outstanding[done++ % window];
            await task.ConfigureAwait(false);
            meter.Add(started, Stopwatch.GetTimestamp());
        }
    }

    private async Task PlayAsync(int size, Meter meter)
    {
        _notifications ??= side.Endpoint.ReadNotificationsAsync().GetAsyncEnumerator();
        while (meter.Goes)
        {
            long start = Stopwatch.GetTimestamp();
            await side.Endpoint.WriteAsync(side.Local(0, size), side.Remote(0, size), Ball).ConfigureAwait(false);
            await _notifications.MoveNextAsync().ConfigureAwait(false);
            meter.Add(start, Stopwatch.GetTimestamp());
        }
    }

    private async Task AnswerNotificationsAsync(int size)
    {
        _notifications ??= side.Endpoint.ReadNotificationsAsync().GetAsyncEnumerator();
        while (await _notifications.MoveNextAsync().ConfigureAwait(false) && _notifications.Current.Value != Over)
            await side.Endpoint.WriteAsync(side.Local(0, size), side.Remote(0, size), Ball).ConfigureAwait(false);
    }

    /// <summary>Writes messages, each of which is confirmed by a byte.</summary>
    private async Task StreamAsync(byte[] message, int window, Meter meter)
    {
        long[] starts = new long[window];
        int begun = 0, done = 0;
        while (meter.Begins(begun) || done < begun)
        {
            if (meter.Begins(begun) && begun - done < window)
            {
                starts[begun++ % window] = Stopwatch.GetTimestamp();
                await side.Connection.Output.WriteAsync(message).ConfigureAwait(false);
                continue;
            }
            ReadResult read = await side.Connection.Input.ReadAsync().ConfigureAwait(false);
            long confirmed = read.Buffer.Length, now = Stopwatch.GetTimestamp();
            side.Connection.Input.AdvanceTo(read.Buffer.End);
            if (read.IsCompleted && confirmed == 0)
                throw new BenchException("The connection was ended by the other side.");
            for (; confirmed > 0; confirmed--)
                meter.Add(starts[done++ % window], now);
        }
    }

    private async Task RoundTripAsync(byte[] message, Meter meter)
    {
        while (meter.Goes)
        {
            long start = Stopwatch.GetTimestamp();
            await side.Connection.Output.WriteAsync(message).ConfigureAwait(false);
            if (!await ReceiveAsync(message).ConfigureAwait(false))
                throw new BenchException("The connection was ended by the other side.");
            meter.Add(start, Stopwatch.GetTimestamp());
        }
    }

    private async Task AnswerStreamAsync(int size, int answerBytes, Task over)
    {
        byte[] message = new byte[size];
        _ = over.ContinueWith(_ => side.Connection.Input.CancelPendingRead(), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        while (await ReceiveAsync(message).ConfigureAwait(false))
            await side.Connection.Output.WriteAsync(message.AsMemory(0, answerBytes)).ConfigureAwait(false);
    }

    /// <summary>
    /// Reads a whole message, like a consumer that touches each byte. Returns false if the row is over, or the other
    /// side has ended the connection.
    /// </summary>
    private async ValueTask<bool> ReceiveAsync(byte[] message)
    {
        for (int length = 0; length < message.Length;)
        {
            ReadResult read = await side.Connection.Input.ReadAsync().ConfigureAwait(false);
            if (read.Buffer.IsEmpty && (read.IsCompleted || read.IsCanceled))
                return false;
            ReadOnlySequence<byte> bytes = read.Buffer.Length > message.Length - length ? read.Buffer.Slice(0, message.Length - length) : read.Buffer;
            bytes.CopyTo(message.AsSpan(length));
            length += (int)bytes.Length;
            side.Connection.Input.AdvanceTo(bytes.End);
        }
        return true;
    }

    /// <summary>Decides when a row has enough iterations, and keeps their times.</summary>
    private sealed class Meter(BenchLength length)
    {
        private long _start = Stopwatch.GetTimestamp();
        private long _last;

        public IterationTimes Times { get; } = new();

        public double Seconds { get; private set; }

        /// <summary>Whether another iteration begins, if each follows the previous one.</summary>
        public bool Goes => Begins(Times.Count);

        /// <summary>Whether another iteration begins after a number of them have begun.</summary>
        public bool Begins(int begun) => length.Iterations is { } iterations
            ? begun < iterations
            : begun < BenchLength.Most && (begun == 0 || Math.Max(_last, _start) - _start < length.Duration.TotalSeconds * Stopwatch.Frequency);

        public void Start() => _start = _last = Stopwatch.GetTimestamp();

        public void Add(long start, long end)
        {
            _last = end;
            Times.Add(end - start);
        }

        public void Stop() => Seconds = Math.Max(1, _last - _start) / (double)Stopwatch.Frequency;
    }
}
