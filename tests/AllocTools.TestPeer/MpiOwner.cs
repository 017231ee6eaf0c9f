using System.Runtime.InteropServices;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Mpi;
using AllocTools.Regions;

namespace AllocTools.TestPeer;

/// <summary>An application that initializes MPI itself, and finalizes it.</summary>
internal static unsafe class MpiOwner
{
    /// <param name="level">The thread level to ask for: 0 to 3.</param>
    /// <param name="library">The MPI library.</param>
    /// <param name="closesLater">Whether it finalizes MPI before it closes what it has opened.</param>
    public static int Run(int level, string library, bool closesLater)
    {
        nint module = NativeLibrary.Load(library);
        var init = (delegate* unmanaged<nint, nint, int, int*, int>)NativeLibrary.GetExport(module, "MPI_Init_thread");
        var finalized = (delegate* unmanaged<int*, int>)NativeLibrary.GetExport(module, "MPI_Finalized");
        var finalize = (delegate* unmanaged<int>)NativeLibrary.GetExport(module, "MPI_Finalize");
        int provided, isFinalized;
        if (init(0, 0, level, &provided) != 0)
            return 3;
        try
        {
            using Job job = new();
            job.Move();
            Console.WriteLine("moved");
            if (!closesLater)
                job.Dispose();
            if (finalized(&isFinalized) != 0 || isFinalized != 0 || finalize() != 0)
                return 4;
            Console.WriteLine("finalized by the application");
            if (closesLater)
                job.MoveNothing();
            return 0;
        }
        catch (RmaProviderException e)
        {
            Console.WriteLine(e.Message);
            return finalize() == 0 ? 1 : 4;
        }
    }

    private sealed class Job : IDisposable
    {
        private readonly IRmaContext _context = new MpiProvider().Open();
        private readonly RmaMemoryPool<HostProvider> _pool;
        private readonly IRmaEndpoint _left;
        private readonly IRmaEndpoint _right;

        public Job()
        {
            _pool = new RmaMemoryPool<HostProvider>(_context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite });
            _left = _context.OpenEndpoint();
            _right = _context.OpenEndpoint();
        }

        /// <summary>Sends a message and writes from an endpoint to another one of the process.</summary>
        public void Move()
        {
            using RmaBuffer message = _pool.Rent(100);
            using RmaBuffer buffer = _pool.Rent(100);
            message.Span.Fill(4);
            Task<RmaReceiveResult> receiving = _right.ReceiveAsync(buffer).AsTask();
            RmaPeer peer = _left.InsertPeer(_right.Address.Span);
            _left.SendAsync(message, peer).AsTask().GetAwaiter().GetResult();
            receiving.GetAwaiter().GetResult();
            if (buffer.Span.ContainsAnyExcept((byte)4))
                throw new InvalidOperationException("Other bytes have arrived.");
            message.Span.Fill(5);
            using RmaExposure exposure = buffer.Expose(RmaAccess.RemoteWrite);
            using RemoteRegion remote = _left.Import(peer, exposure.Remote);
            _left.WriteAsync(message, remote).AsTask().GetAwaiter().GetResult();
            if (buffer.Span.ContainsAnyExcept((byte)5))
                throw new InvalidOperationException("Other bytes were written.");
        }

        /// <summary>Checks that MPI can't be used any more: an operation times out, and memory is not registered.</summary>
        public void MoveNothing()
        {
            using (RmaBuffer message = _pool.Rent(100))
                Say(() => _left.SendAsync(message, _left.InsertPeer(_right.Address.Span), TimeSpan.FromMilliseconds(200)).AsTask().GetAwaiter().GetResult());
            Say(() => _pool.Rent(16 << 20).Dispose());

            static void Say(Action action)
            {
                try
                {
                    action();
                }
                catch (RmaException e)
                {
                    Console.WriteLine($"{e.GetType().Name}: {e.Message}");
                }
            }
        }

        public void Dispose()
        {
            _left.Dispose();
            _right.Dispose();
            _pool.Dispose();
            _context.Dispose();
        }
    }
}
