using System.Runtime.InteropServices;
using AllocTools.HostMemory;
using AllocTools.Mpi;
using AllocTools.Regions;

namespace AllocTools.TestPeer;

/// <summary>An application that initializes MPICH itself, and finalizes it.</summary>
internal static partial class MpiOwner
{
    /// <param name="level">The thread level that it asks for: 0 to 3.</param>
    public static int Run(int level)
    {
        if (MPI_Init_thread(0, 0, level, out _) != 0)
            return 3;
        bool isRefused = false;
        try
        {
            Move();
            Console.WriteLine("moved");
        }
        catch (RmaProviderException e)
        {
            isRefused = true;
            Console.WriteLine(e.Message);
        }
        if (MPI_Finalized(out int isFinalized) != 0 || isFinalized != 0 || MPI_Finalize() != 0)
            return 4;
        Console.WriteLine("finalized by the application");
        return isRefused ? 1 : 0;
    }

    /// <summary>A message from an endpoint to another one of the process.</summary>
    private static void Move()
    {
        using IRmaContext context = new MpiProvider(new MpiOptions { Implementation = MpiImplementation.Mpich }).Open();
        using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions());
        using IRmaEndpoint left = context.OpenEndpoint();
        using IRmaEndpoint right = context.OpenEndpoint();
        using RmaBuffer message = pool.Rent(100);
        using RmaBuffer buffer = pool.Rent(100);
        message.Span.Fill(4);
        Task<RmaReceiveResult> receiving = right.ReceiveAsync(buffer).AsTask();
        left.SendAsync(message, left.InsertPeer(right.Address.Span)).AsTask().GetAwaiter().GetResult();
        receiving.GetAwaiter().GetResult();
        if (buffer.Span.ContainsAnyExcept((byte)4))
            throw new InvalidOperationException("Other bytes have arrived.");
    }

    [LibraryImport("libmpich.so.12")]
    private static partial int MPI_Init_thread(nint count, nint arguments, int required, out int provided);

    [LibraryImport("libmpich.so.12")]
    private static partial int MPI_Finalized(out int isFinalized);

    [LibraryImport("libmpich.so.12")]
    private static partial int MPI_Finalize();
}
