using System.Collections.Frozen;

namespace AllocTools.Mpi.Interop;

/// <summary>The constants of an implementation's mpi.h. MPI defines their meaning, and each implementation their values.</summary>
/// <remarks>
/// Handles are pointers to data of the library in Open MPI, and 32-bit integers in MPICH and implementations that
/// share its ABI. Both are passed as <see cref="nint"/>: the calling conventions of 64-bit systems ignore the upper
/// half of an integer argument.
/// </remarks>
internal sealed record MpiConstants
{
    /// <summary>The size of a handle in bytes, such as an MPI_Request in an array.</summary>
    public required int HandleSize { get; init; }

    /// <summary>The size of an MPI_Status in bytes.</summary>
    public required int StatusSize { get; init; }

    /// <summary>The offset of MPI_SOURCE in a status.</summary>
    public required int StatusSource { get; init; }

    /// <summary>The offset of MPI_TAG in a status.</summary>
    public required int StatusTag { get; init; }

    /// <summary>The offset of MPI_ERROR in a status.</summary>
    public required int StatusError { get; init; }

    public required nint MPI_STATUS_IGNORE { get; init; }

    public required int MPI_ANY_SOURCE { get; init; }

    public required int MPI_TAG_UB { get; init; }

    public required int MPI_WIN_MODEL { get; init; }

    public required int MPI_WIN_UNIFIED { get; init; }

    public required int MPI_MAX_ERROR_STRING { get; init; }

    public required int MPI_MAX_LIBRARY_VERSION_STRING { get; init; }

    public required int MPI_ERR_RMA_ATTACH { get; init; }

    public required int MPI_ERR_IN_STATUS { get; init; }

    /// <summary>The predefined handles: symbols of the library, or numbers.</summary>
    public required MpiHandleNames Handles { get; init; }

    /// <summary>The names of error classes.</summary>
    public required FrozenDictionary<int, string> ErrorClasses { get; init; }

    // These are the same in both implementations.
    public const int MPI_ANY_TAG = -1;
    public const int MPI_UNDEFINED = -32766;
    public const int MPI_THREAD_MULTIPLE = 3;
    public const int MPI_SUCCESS = 0;

    public static MpiConstants OpenMpi { get; } = new()
    {
        HandleSize = 8,
        StatusSize = 24,
        StatusSource = 0,
        StatusTag = 4,
        StatusError = 8,
        MPI_STATUS_IGNORE = 0,
        MPI_ANY_SOURCE = -1,
        MPI_TAG_UB = 0,
        MPI_WIN_MODEL = 11,
        MPI_WIN_UNIFIED = 0,
        MPI_MAX_ERROR_STRING = 256,
        MPI_MAX_LIBRARY_VERSION_STRING = 256,
        MPI_ERR_RMA_ATTACH = 69,
        MPI_ERR_IN_STATUS = 18,
        Handles = new MpiHandleNames
        {
            MPI_COMM_WORLD = "ompi_mpi_comm_world",
            MPI_COMM_SELF = "ompi_mpi_comm_self",
            MPI_BYTE = "ompi_mpi_byte",
            MPI_INFO_NULL = "ompi_mpi_info_null",
            MPI_ERRORS_RETURN = "ompi_mpi_errors_return",
        },
        ErrorClasses = Names(
            (1, "BUFFER"), (2, "COUNT"), (3, "TYPE"), (4, "TAG"), (5, "COMM"), (6, "RANK"), (7, "REQUEST"), (13, "ARG"), (14, "UNKNOWN"),
            (15, "TRUNCATE"), (16, "OTHER"), (17, "INTERN"), (18, "IN_STATUS"), (19, "PENDING"), (22, "ASSERT"), (24, "BASE"), (26, "DISP"), (37, "LOCKTYPE"),
            (39, "NO_MEM"), (46, "RMA_CONFLICT"), (47, "RMA_SYNC"), (49, "SIZE"), (53, "WIN"), (68, "RMA_RANGE"), (69, "RMA_ATTACH"), (70, "RMA_FLAVOR"), (71, "RMA_SHARED")),
    };

    public static MpiConstants Mpich { get; } = new()
    {
        HandleSize = 4,
        StatusSize = 20,
        StatusSource = 8,
        StatusTag = 12,
        StatusError = 16,
        MPI_STATUS_IGNORE = 1,
        MPI_ANY_SOURCE = -2,
        MPI_TAG_UB = 0x64400001,
        MPI_WIN_MODEL = 0x66000009,
        MPI_WIN_UNIFIED = 2,
        MPI_MAX_ERROR_STRING = 512,
        MPI_MAX_LIBRARY_VERSION_STRING = 8192,
        MPI_ERR_RMA_ATTACH = 56,
        MPI_ERR_IN_STATUS = 17,
        Handles = new MpiHandleNames
        {
            MPI_COMM_WORLD = "0x44000000",
            MPI_COMM_SELF = "0x44000001",
            MPI_BYTE = "0x4c00010d",
            MPI_INFO_NULL = "0x1c000000",
            MPI_ERRORS_RETURN = "0x54000001",
        },
        ErrorClasses = Names(
            (1, "BUFFER"), (2, "COUNT"), (3, "TYPE"), (4, "TAG"), (5, "COMM"), (6, "RANK"), (12, "ARG"), (13, "UNKNOWN"), (14, "TRUNCATE"), (15, "OTHER"),
            (16, "INTERN"), (17, "IN_STATUS"), (18, "PENDING"), (19, "REQUEST"), (34, "NO_MEM"), (45, "WIN"), (46, "BASE"), (47, "LOCKTYPE"), (49, "RMA_CONFLICT"),
            (50, "RMA_SYNC"), (51, "SIZE"), (52, "DISP"), (53, "ASSERT"), (55, "RMA_RANGE"), (56, "RMA_ATTACH"), (57, "RMA_SHARED"), (58, "RMA_FLAVOR")),
    };

    private static FrozenDictionary<int, string> Names(params (int Class, string Name)[] classes) =>
        classes.ToFrozenDictionary(static c => c.Class, static c => "MPI_ERR_" + c.Name);
}

/// <summary>The predefined handles: names of symbols whose addresses are the handles, or the handles' numbers in hexadecimal digits.</summary>
internal sealed record MpiHandleNames
{
    public required string MPI_COMM_WORLD { get; init; }

    public required string MPI_COMM_SELF { get; init; }

    public required string MPI_BYTE { get; init; }

    public required string MPI_INFO_NULL { get; init; }

    public required string MPI_ERRORS_RETURN { get; init; }
}
