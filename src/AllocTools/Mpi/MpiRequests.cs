using System.Runtime.InteropServices;
using AllocTools.Mpi.Interop;

namespace AllocTools.Mpi;

/// <summary>
/// The outstanding MPI requests of an endpoint, each with the index of its operation. It must be used by one thread at
/// a time.
/// </summary>
internal sealed unsafe class MpiRequests
{
    private readonly MpiLibrary _library;
    private readonly int _handleSize;
    private readonly int[] _owners;
    private readonly byte* _handles;
    private readonly byte* _statuses;
    private readonly int* _completed;

    /// <param name="library">MPI.</param>
    /// <param name="capacity">The maximum number of requests.</param>
    public MpiRequests(MpiLibrary library, int capacity)
    {
        _library = library;
        _handleSize = library.Constants.HandleSize;
        _owners = new int[capacity];
        _handles = (byte*)NativeMemory.Alloc((nuint)capacity, (nuint)_handleSize);
        _statuses = (byte*)NativeMemory.AllocZeroed((nuint)capacity, (nuint)library.Constants.StatusSize);
        _completed = (int*)NativeMemory.Alloc((nuint)capacity, sizeof(int));
    }

    public int Count { get; private set; }

    public void Add(nint request, int owner)
    {
        _owners[Count] = owner;
        Set(Count++, request);
    }

    /// <summary>Finds and removes completed requests with MPI_Testsome, which also makes progress in MPI.</summary>
    /// <param name="owners">Receives the indexes of their operations.</param>
    /// <param name="errors">Receives their results.</param>
    /// <param name="found">The number of completed requests.</param>
    /// <returns>The result of the call itself.</returns>
    public int Test(Span<int> owners, Span<int> errors, out int found)
    {
        found = 0;
        if (Count == 0)
            return MpiConstants.MPI_SUCCESS;
        int done = 0;
        int result = _library.Calls.MPI_Testsome(Count, _handles, &done, _completed, _statuses);
        bool areInStatus = result != MpiConstants.MPI_SUCCESS && _library.ClassOf(result) == _library.Constants.MPI_ERR_IN_STATUS;
        if (result != MpiConstants.MPI_SUCCESS && !areInStatus)
            return result;
        if (done == MpiConstants.MPI_UNDEFINED)
            done = 0;
        for (int i = 0; i < done; i++)
        {
            owners[i] = _owners[_completed[i]];
            errors[i] = areInStatus ? *(int*)(_statuses + (i * _library.Constants.StatusSize) + _library.Constants.StatusError) : MpiConstants.MPI_SUCCESS;
            _owners[_completed[i]] = -1;
        }
        if (done > 0)
            Compact();
        found = done;
        return MpiConstants.MPI_SUCCESS;
    }

    public void Free()
    {
        NativeMemory.Free(_handles);
        NativeMemory.Free(_statuses);
        NativeMemory.Free(_completed);
    }

    private void Compact()
    {
        int kept = 0;
        for (int i = 0; i < Count; i++)
        {
            if (_owners[i] < 0)
                continue;
            if (kept != i)
            {
                _owners[kept] = _owners[i];
                Set(kept, Get(i));
            }
            kept++;
        }
        Count = kept;
    }

    private nint Get(int i) => _handleSize == sizeof(int) ? *(int*)(_handles + (i * sizeof(int))) : *(nint*)(_handles + (i * sizeof(nint)));

    private void Set(int i, nint request)
    {
        if (_handleSize == sizeof(int))
            *(int*)(_handles + (i * sizeof(int))) = (int)request;
        else
            *(nint*)(_handles + (i * sizeof(nint))) = request;
    }
}
