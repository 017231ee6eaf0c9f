using System.Buffers;
using System.IO.Pipelines;
using AllocTools.Buffers;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;

namespace AllocTools.Benchmarks.Pairs;

/// <summary>
/// Forwards 1 MiB from a pipe of blocks of 16 KiB, as a server has it, to a peer: directly from the pipe's blocks, or
/// by way of a rented buffer.
/// </summary>
internal static class ForwardedPipe
{
    private const int Length = 1 << 20;

    public static IWorkload FromWhereItIs() => Of(static (side, read) =>
    {
        side.Batch.Clear();
        side.Batch.Write(read, side.Remote);
        side.Batch.RunAsync().AsTask().GetAwaiter().GetResult();
    });

    public static IWorkload ByACopy() => Of(static (side, read) =>
    {
        using RmaBuffer buffer = side.Pool.Rent(Length);
        read.CopyTo(buffer.Span);
        side.Batch.Clear();
        side.Batch.Write(buffer, side.Remote);
        side.Batch.RunAsync().AsTask().GetAwaiter().GetResult();
    });

    private static Workload Of(Action<Side, ReadOnlySequence<byte>> forward)
    {
        Side side = new();
        return new Workload(
            operations =>
            {
                for (int i = 0; i < operations; i++)
                    side.Forward(forward);
            },
            side.Dispose);
    }

    /// <summary>A pipe, and the memory of a peer, which is this process.</summary>
    private sealed class Side : IDisposable
    {
        private readonly IRmaContext _context = new HostProvider(new HostProviderOptions { Locking = PageLocking.BestEffort }).Open();
        private readonly IRmaEndpoint _endpoint;
        private readonly RmaBuffer _target;
        private readonly RmaExposure _exposure;
        private readonly Pipe _pipe;
        private readonly byte[] _received = new byte[16 << 10];

        public Side()
        {
            Pool = new RmaMemoryPool<HostProvider>(_context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, IdleRetention = Timeout.InfiniteTimeSpan });
            _endpoint = _context.OpenEndpoint();
            _target = Pool.Rent(Length);
            _exposure = _target.Expose(RmaAccess.RemoteWrite);
            Remote = _endpoint.Import(_endpoint.InsertPeer(_endpoint.Address.Span), _exposure.Remote);
            Batch = _endpoint.CreateBatch();
            _pipe = new Pipe(Pool.ToPipeOptions(pauseWriterThreshold: 0, useSynchronizationContext: false));
        }

        public RmaMemoryPool<HostProvider> Pool { get; }

        public RemoteRegion Remote { get; }

        public RmaBatch Batch { get; }

        public void Forward(Action<Side, ReadOnlySequence<byte>> forward)
        {
            for (int i = 0; i < Length; i += _received.Length)
                _pipe.Writer.Write(_received);
            _pipe.Writer.FlushAsync().AsTask().GetAwaiter().GetResult();
            _pipe.Reader.TryRead(out ReadResult read);
            forward(this, read.Buffer);
            _pipe.Reader.AdvanceTo(read.Buffer.End);
        }

        public void Dispose()
        {
            _pipe.Writer.Complete();
            _pipe.Reader.Complete();
            Remote.Dispose();
            _endpoint.DisposeAsync().AsTask().GetAwaiter().GetResult();
            _exposure.Dispose();
            _target.Dispose();
            Pool.Dispose();
            _context.Dispose();
        }
    }
}
