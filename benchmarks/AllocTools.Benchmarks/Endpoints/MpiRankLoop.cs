using System.Diagnostics;
using System.Globalization;
using AllocTools.Blocks;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Mpi;
using AllocTools.Regions;

namespace AllocTools.Benchmarks.Endpoints;

/// <summary>
/// One of two ranks: the first one measures, and the other one makes progress or answers. Prints the nanoseconds and
/// the allocated bytes per operation.
/// </summary>
internal sealed class MpiRankLoop : IDisposable
{
    public const string Argument = "--mpi-rank";

    private readonly IRmaContext _context;
    private readonly RmaMemoryPool<HostProvider> _pool;
    private readonly MpiEndpoint _endpoint;
    private readonly RmaBuffer _sent;
    private readonly RmaBuffer _received;
    private readonly RmaExposure _exposure;
    private readonly RmaPeer _peer;
    private readonly RemoteRegion _remote;
    private readonly RmaCompletion[] _completions = new RmaCompletion[4];
    private readonly nint _unregistered;
    private readonly string _loop;
    private readonly int _count;

    private MpiRankLoop(string loop, int size, int count)
    {
        _loop = loop;
        _count = count;
        MpiOptions options = new();
        options.Endpoint.Progress = RmaProgress.Caller;
        // The target's receive waits until the whole loop has ended.
        options.Endpoint.OperationTimeout = Timeout.InfiniteTimeSpan;
        _context = new MpiProvider(options).Open();
        _pool = new RmaMemoryPool<HostProvider>(_context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite });
        _endpoint = (MpiEndpoint)_context.OpenEndpoint();
        _sent = _pool.Rent(size);
        _received = _pool.Rent(size);
        _unregistered = new PageAllocator().Allocate(Math.Max(size, Environment.SystemPageSize), populate: true);
        _sent.Span.Fill(1);
        _received.Span.Fill(1);
        _exposure = _received.Expose(RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        int other = 1 - _endpoint.Rank;
        _peer = _endpoint.InsertPeer(_endpoint.ExchangeAsync(_endpoint.Address).GetAwaiter().GetResult()[other].Span);
        _remote = _endpoint.Import(_peer, RemoteMemory.Read(_endpoint.ExchangeAsync(_exposure.Remote.ToArray()).GetAwaiter().GetResult()[other].Span));
    }

    public static int Run(string loop, string size, string count)
    {
        using MpiRankLoop rank = new(loop, int.Parse(size, CultureInfo.InvariantCulture), int.Parse(count, CultureInfo.InvariantCulture));
        if (rank._endpoint.Rank == 0)
            rank.Measure();
        else
            rank.Serve();
        return 0;
    }

    public void Dispose()
    {
        _remote.Dispose();
        _exposure.Dispose();
        _endpoint.Dispose();
        _sent.Dispose();
        _received.Dispose();
        _pool.Dispose();
        _context.Dispose();
        new PageAllocator().Free(_unregistered, Math.Max(_received.Length, Environment.SystemPageSize));
    }

    private void Measure()
    {
        // The warm-up has as many operations as the measurement, so that the code is fully optimised by then.
        for (int i = 0; i < _count; i++)
            Operate();
        long allocated = GC.GetAllocatedBytesForCurrentThread();
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < _count; i++)
            Operate();
        TimeSpan time = Stopwatch.GetElapsedTime(start);
        allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"time={time.TotalNanoseconds / _count:0.0} allocated={(double)allocated / _count:0.###}"));
        // In the other loops, the target's receive waits for this message.
        if (_loop != "ping-pong")
            Complete(RmaOperation.Send(_sent.Slice(0, 1), _peer));
    }

    private void Serve()
    {
        if (_loop != "ping-pong")
            Complete(RmaOperation.Receive(_received));
        for (int i = 0; _loop == "ping-pong" && i < 2 * _count; i++)
        {
            Complete(RmaOperation.Receive(_received));
            Complete(RmaOperation.Send(_sent, _peer));
        }
    }

    private void Operate()
    {
        switch (_loop)
        {
            case "write":
                Complete(RmaOperation.Write(_sent, _remote));
                break;
            case "read":
                Complete(RmaOperation.Read(_sent, _remote));
                break;
            case "ping-pong":
                Post(RmaOperation.Receive(_received));
                Post(RmaOperation.Send(_sent, _peer));
                Take(2);
                break;
            case "register":
                _context.Deregister(_context.Register(_unregistered, _received.Length, RmaAccess.RemoteWrite));
                break;
            default:
                using (_pool.Rent(_received.Length))
                {
                }
                break;
        }
    }

    private void Complete(in RmaOperation operation)
    {
        Post(operation);
        Take(1);
    }

    private void Post(in RmaOperation operation)
    {
        while (!_endpoint.TryPost(operation))
            _endpoint.Poll([]);
    }

    private void Take(int count)
    {
        for (int taken = 0; taken < count;)
        {
            int more = _endpoint.Poll(_completions);
            for (int i = 0; i < more; i++)
            {
                if (!_completions[i].IsSuccess)
                    throw new InvalidOperationException($"{_completions[i]} has failed.");
            }
            taken += more;
        }
    }
}
