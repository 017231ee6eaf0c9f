namespace AllocTools.Mpi;

/// <summary>The implementation of MPI that a process uses.</summary>
public enum MpiImplementation
{
    /// <summary>
    /// The implementation whose mpirun has started this process; without mpirun, MPICH if it is installed, otherwise
    /// Open MPI.
    /// </summary>
    Any = 0,

    /// <summary>Open MPI (<c>libmpi.so.40</c>), 4.0 or later.</summary>
    OpenMpi = 1,

    /// <summary>MPICH (<c>libmpich.so.12</c>, <c>libmpi.so.12</c>), 3.4 or later, and implementations that share its ABI.</summary>
    Mpich = 2,
}
