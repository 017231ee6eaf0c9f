using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace AllocTools.Mpi.Interop;

/// <summary>
/// Calls back when the application calls MPI_Finalize, while MPI can still be used: MPI_Finalize first deletes the
/// attributes of MPI_COMM_SELF (MPI 3.1, 8.7.1).
/// </summary>
internal static unsafe class FinalizeHook
{
    private static Action? s_onFinalize;

    /// <summary>Sets the callback. It may be called only once per process.</summary>
    /// <param name="library">MPI, which is initialized.</param>
    /// <param name="onFinalize">Called by the thread that finalizes MPI. It must not throw, because native frames are
    /// above it.</param>
    /// <returns>MPI's result.</returns>
    public static int Set(MpiLibrary library, Action onFinalize)
    {
        s_onFinalize = onFinalize;
        int key;
        int error = library.Calls.MPI_Comm_create_keyval(&Copy, &Delete, &key, null);
        return error == MpiConstants.MPI_SUCCESS ? library.Calls.MPI_Comm_set_attr(library.Self, key, null) : error;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Copy(nint communicator, int key, void* state, void* value, void* copy, int* isCopied)
    {
        *isCopied = 0;
        return MpiConstants.MPI_SUCCESS;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Delete(nint communicator, int key, void* value, void* state)
    {
        Interlocked.Exchange(ref s_onFinalize, null)?.Invoke();
        return MpiConstants.MPI_SUCCESS;
    }
}
