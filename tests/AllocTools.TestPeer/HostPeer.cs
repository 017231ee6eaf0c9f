using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;

namespace AllocTools.TestPeer;

/// <summary>
/// A service on a host: it exposes a window of places to its peers. In the background it moves bytes to and from their
/// windows, and checks each byte. It follows the lines on its standard input, and answers each with a line.
/// </summary>
/// <param name="open">Opens the fabric, with changes to the options of its endpoint.</param>
/// <param name="places">The number of peers that may write into its window.</param>
/// <param name="timeout">The number of seconds after which an operation times out.</param>
internal sealed class HostPeer(Func<Action<RmaEndpointOptions>, IRmaContext> open, int places, double timeout)
{
    private const int PlaceLength = 16 << 10;
    private const int Parts = 8;
    private readonly ConcurrentDictionary<ulong, int> _notified = [];
    private readonly Dictionary<string, Traffic> _traffic = [];

    public async Task<int> RunAsync()
    {
        using IRmaContext context = open(o => o.OperationTimeout = TimeSpan.FromSeconds(timeout));
        await using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        IRmaEndpoint endpoint = context.OpenEndpoint();
        List<IRmaEndpoint> further = [];
        RmaBuffer window = pool.Rent(places * PlaceLength);
        window.Span.Clear();
        RmaExposure exposure = window.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        Task counting = CountAsync(endpoint);
        while (await Console.In.ReadLineAsync() is { } line)
        {
            string answer;
            try
            {
                answer = line.Split(' ') switch
                {
                    ["address"] => $"{Convert.ToBase64String(endpoint.Address.Span)} {Convert.ToBase64String(exposure.Remote.ToArray())}",
                    ["also", var count] => OpenFurther(Number(count)),
                    ["meet", var name, var place, var address, var memory] => Meet(name, new Traffic(pool, endpoint, Convert.FromBase64String(address), RemoteMemory.Read(Convert.FromBase64String(memory)), Number(place))),
                    ["start", var name] => _traffic[name].Start(),
                    ["rounds", var name] => _traffic[name].Rounds.ToString(CultureInfo.InvariantCulture),
                    ["halt", var name] => await _traffic[name].HaltAsync(),
                    ["end", var name] => await _traffic[name].EndAsync(),
                    ["forget", var name] => Forget(name),
                    ["place", var place] => Describe(window.GetSpan(Number(place) * PlaceLength, PlaceLength)),
                    ["notified", var place] => _notified.GetValueOrDefault((ulong)Number(place)).ToString(CultureInfo.InvariantCulture),
                    ["clock"] => DateTime.UtcNow.ToString("O", CultureInfo.InvariantCulture),
                    ["left"] => Left(pool),
                    ["close"] => await CloseAsync(),
                    _ => $"unknown: {line}",
                };
            }
            catch (RmaException e)
            {
                answer = Traffic.Describe(e);
            }
            await Console.Out.WriteLineAsync(answer);
            await Console.Out.FlushAsync();
        }
        if (!counting.IsCompleted)
            await CloseAsync();
        return 0;

        // The peers of these endpoints write into the same window.
        string OpenFurther(int count)
        {
            further.AddRange(Enumerable.Range(0, count).Select(_ => context.OpenEndpoint()));
            return string.Join(' ', further.Select(static e => Convert.ToBase64String(e.Address.Span)));
        }

        // Returns what is left when everything is given back and the endpoints are closed.
        async Task<string> CloseAsync()
        {
            foreach (string name in _traffic.Keys.ToArray())
                Forget(name);
            exposure.Dispose();
            window.Dispose();
            foreach (IRmaEndpoint one in (IRmaEndpoint[])[endpoint, .. further])
                await one.DisposeAsync();
            await counting;
            return Left(pool);
        }
    }

    private static string Left(RmaMemoryPool<HostProvider> pool)
    {
        RmaPoolStatistics now = pool.GetStatistics();
        return $"{now.RentedBuffers} rented, {now.QuarantinedBuffers} quarantined";
    }

    private string Meet(string name, Traffic traffic)
    {
        Forget(name);
        _traffic.Add(name, traffic);
        return "ok";
    }

    private string Forget(string name)
    {
        if (_traffic.Remove(name, out Traffic? before))
            before.Dispose();
        return "ok";
    }

    /// <summary>Counts notifications; the number of a notification is the place that was written to.</summary>
    private async Task CountAsync(IRmaEndpoint endpoint)
    {
        await foreach (RmaNotification one in endpoint.ReadNotificationsAsync())
            _notified.AddOrUpdate(one.Value, 1, static (_, count) => count + 1);
    }

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);

    /// <summary>Fills memory with bytes that are derived from the number at their beginning.</summary>
    private static void Fill(Span<byte> bytes, int seed)
    {
        BinaryPrimitives.WriteInt32LittleEndian(bytes, seed);
        new Random(seed).NextBytes(bytes[sizeof(int)..]);
    }

    /// <summary>Describes whether the bytes are those of a single write.</summary>
    private static string Describe(Span<byte> bytes)
    {
        if (!bytes.ContainsAnyExcept((byte)0))
            return "untouched";
        byte[] expected = new byte[bytes.Length];
        Fill(expected, BinaryPrimitives.ReadInt32LittleEndian(bytes));
        return bytes.SequenceEqual(expected) ? "whole" : "mixed";
    }

    /// <summary>Writes to one peer's place and reads back from there, one round after the other.</summary>
    private sealed class Traffic : IDisposable
    {
        private readonly IRmaEndpoint _endpoint;
        private readonly int _place;
        private readonly RmaPeer _peer;
        private readonly RemoteRegion _region;
        private readonly RemoteSlice _target;
        private readonly RmaBuffer _source;
        private readonly RmaBuffer _back;
        private readonly RmaBatch _batch;
        private int _rounds;
        private int _isHalting;
        private Task<string> _running = Task.FromResult("not started");

        public Traffic(IRmaMemoryPool pool, IRmaEndpoint endpoint, byte[] address, RemoteMemory memory, int place)
        {
            (_endpoint, _place) = (endpoint, place);
            _peer = endpoint.InsertPeer(address);
            _region = endpoint.Import(_peer, memory);
            _target = _region.Slice(place * PlaceLength, PlaceLength);
            _source = pool.Rent(PlaceLength);
            _back = pool.Rent(PlaceLength);
            _batch = endpoint.CreateBatch(Parts);
            for (int i = 0; i < Parts; i++)
                _batch.Write(_source.Slice(i * PlaceLength / Parts, PlaceLength / Parts), _target.Slice(i * PlaceLength / Parts, PlaceLength / Parts));
        }

        public int Rounds => Volatile.Read(ref _rounds);

        public static string Describe(Exception e) => $"{e.GetType().Name}: {e.Message.ReplaceLineEndings(" ")}";

        public string Start()
        {
            Volatile.Write(ref _isHalting, 0);
            _running = Task.Run(RunAsync);
            return "ok";
        }

        /// <summary>Stops after the current round.</summary>
        public Task<string> HaltAsync()
        {
            Volatile.Write(ref _isHalting, 1);
            return EndAsync();
        }

        /// <summary>Waits until it has ended, with an error or because it was halted.</summary>
        public Task<string> EndAsync() => _running;

        public void Dispose()
        {
            _source.Dispose();
            _back.Dispose();
            _region.Dispose();
            _endpoint.RemovePeer(_peer);
        }

        private async Task<string> RunAsync()
        {
            var current = Stopwatch.StartNew();
            try
            {
                while (Volatile.Read(ref _isHalting) == 0)
                {
                    current.Restart();
                    Fill(_source.Span, Random.Shared.Next());
                    await _endpoint.WriteAsync(_source, _target, (ulong)_place);
                    if (!await IsThereAsync())
                        return "other bytes than were written";
                    Fill(_source.Span, Random.Shared.Next());
                    await _batch.RunAsync();
                    if (!await IsThereAsync())
                        return "other bytes than were written by a batch";
                    Interlocked.Increment(ref _rounds);
                }
                return "halted";
            }
            catch (RmaException e)
            {
                return string.Create(CultureInfo.InvariantCulture, $"{current.Elapsed.TotalSeconds:0.0} s {Describe(e)}");
            }
        }

        private async Task<bool> IsThereAsync()
        {
            _back.Span.Clear();
            await _endpoint.ReadAsync(_back, _target);
            return _back.Span.SequenceEqual(_source.Span);
        }
    }
}
