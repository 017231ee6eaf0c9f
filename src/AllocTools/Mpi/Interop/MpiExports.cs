namespace AllocTools.Mpi.Interop;

/// <summary>The functions of MPI that are called. Handles are <see cref="nint"/>, whatever type the implementation uses.</summary>
internal unsafe struct MpiExports
{
    public delegate* unmanaged[Cdecl]<int*, int> MPI_Initialized;
    public delegate* unmanaged[Cdecl]<int*, int> MPI_Finalized;
    public delegate* unmanaged[Cdecl]<void*, void*, int, int*, int> MPI_Init_thread;
    public delegate* unmanaged[Cdecl]<int*, int> MPI_Query_thread;
    public delegate* unmanaged[Cdecl]<int> MPI_Finalize;
    public delegate* unmanaged[Cdecl]<byte*, int*, int> MPI_Get_library_version;
    public delegate* unmanaged[Cdecl]<int, int*, int> MPI_Error_class;
    public delegate* unmanaged[Cdecl]<int, byte*, int*, int> MPI_Error_string;

    public delegate* unmanaged[Cdecl]<nint, nint*, nint*, int> MPI_Comm_idup;
    public delegate* unmanaged[Cdecl]<nint*, int> MPI_Comm_free;
    public delegate* unmanaged[Cdecl]<nint, nint, int> MPI_Comm_set_errhandler;
    public delegate* unmanaged[Cdecl]<nint, int*, int> MPI_Comm_rank;
    public delegate* unmanaged[Cdecl]<nint, int*, int> MPI_Comm_size;
    public delegate* unmanaged[Cdecl]<nint, int, void*, int*, int> MPI_Comm_get_attr;
    public delegate* unmanaged[Cdecl]<delegate* unmanaged[Cdecl]<nint, int, void*, void*, void*, int*, int>, delegate* unmanaged[Cdecl]<nint, int, void*, void*, int>, int*, void*, int> MPI_Comm_create_keyval;
    public delegate* unmanaged[Cdecl]<nint, int, void*, int> MPI_Comm_set_attr;
    public delegate* unmanaged[Cdecl]<void*, int, nint, int, nint, int> MPI_Bcast;
    public delegate* unmanaged[Cdecl]<nint, nint*, int> MPI_Ibarrier;
    public delegate* unmanaged[Cdecl]<void*, int, nint, void*, int, nint, nint, nint*, int> MPI_Iallgather;
    public delegate* unmanaged[Cdecl]<void*, int, nint, void*, int*, int*, nint, nint, nint*, int> MPI_Iallgatherv;

    public delegate* unmanaged[Cdecl]<nint, nint, nint*, int> MPI_Win_create_dynamic;
    public delegate* unmanaged[Cdecl]<nint*, int> MPI_Win_free;
    public delegate* unmanaged[Cdecl]<nint, nint, int> MPI_Win_set_errhandler;
    public delegate* unmanaged[Cdecl]<nint, int, void*, int*, int> MPI_Win_get_attr;
    public delegate* unmanaged[Cdecl]<int, nint, int> MPI_Win_lock_all;
    public delegate* unmanaged[Cdecl]<nint, int> MPI_Win_unlock_all;
    public delegate* unmanaged[Cdecl]<nint, void*, nint, int> MPI_Win_attach;
    public delegate* unmanaged[Cdecl]<nint, void*, int> MPI_Win_detach;
    public delegate* unmanaged[Cdecl]<int, nint, int> MPI_Win_flush;
    public delegate* unmanaged[Cdecl]<void*, nint*, int> MPI_Get_address;

    public delegate* unmanaged[Cdecl]<void*, int, nint, int, nint, int, nint, nint, int> MPI_Put;
    public delegate* unmanaged[Cdecl]<void*, int, nint, int, nint, int, nint, nint, nint*, int> MPI_Rput;
    public delegate* unmanaged[Cdecl]<void*, int, nint, int, nint, int, nint, nint, nint*, int> MPI_Rget;

    public delegate* unmanaged[Cdecl]<void*, int, nint, int, int, nint, nint*, int> MPI_Isend;
    public delegate* unmanaged[Cdecl]<void*, int, nint, int, int, nint, nint*, int> MPI_Issend;
    public delegate* unmanaged[Cdecl]<int, int, nint, int*, nint*, void*, int> MPI_Improbe;
    public delegate* unmanaged[Cdecl]<void*, int, nint, nint*, nint*, int> MPI_Imrecv;
    public delegate* unmanaged[Cdecl]<void*, int, nint, nint*, void*, int> MPI_Mrecv;
    public delegate* unmanaged[Cdecl]<void*, nint, int*, int> MPI_Get_count;
    public delegate* unmanaged[Cdecl]<nint*, int*, void*, int> MPI_Test;
    public delegate* unmanaged[Cdecl]<int, void*, int*, int*, void*, int> MPI_Testsome;
}
