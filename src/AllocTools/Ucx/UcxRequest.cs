using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using AllocTools.Ucx.Interop;

namespace AllocTools.Ucx;

/// <summary>The purpose of a <see cref="UcxRequest"/>.</summary>
internal enum UcxRequestKind
{
    Operation,
    NotificationReceive,
    Flush,
    Close,
    Failure,
}

/// <summary>A request of UCX in memory of this library, located right after UCX's part. UCP_OP_ATTR_FIELD_REQUEST.</summary>
/// <remarks>A callback runs inside a call of UCX, under its lock, so it only puts the request into the mailbox.</remarks>
internal unsafe struct UcxRequest
{
    /// <summary>The tag and length of a message.</summary>
    public ucp_tag_recv_info Info;

    /// <summary>The number in a notification.</summary>
    public ulong Number;

    public UcxMailbox* Mailbox;
    public UcxRequest* Next;

    /// <summary>For a close: UCX's own request, which must be released; null if there was none.</summary>
    public void* Native;

    /// <summary>A handle of the object that the request belongs to; 0 for an operation.</summary>
    public nint Owner;

    /// <summary>The request's index among the requests of its kind.</summary>
    public int Index;

    public UcxRequestKind Kind;
    public sbyte Status;

    /// <summary>The callback of type ucp_send_nbx_callback_t.</summary>
    public static void* Ended => (delegate* unmanaged[Cdecl]<void*, sbyte, void*, void>)&OnEnded;

    /// <summary>The callback of type ucp_tag_recv_nbx_callback_t.</summary>
    public static void* Received => (delegate* unmanaged[Cdecl]<void*, sbyte, ucp_tag_recv_info*, void*, void>)&OnReceived;

    /// <summary>The callback of type ucp_send_nbx_callback_t for a request that UCX allocated, with one of this library as its data.</summary>
    public static void* Closed => (delegate* unmanaged[Cdecl]<void*, sbyte, void*, void>)&OnClosed;

    /// <summary>The callback of type ucp_err_handler_cb_t.</summary>
    public static delegate* unmanaged[Cdecl]<void*, void*, sbyte, void> Failed => &OnFailed;

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void OnEnded(void* request, sbyte status, void* data) => UcxMailbox.Put((UcxRequest*)request, status);

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void OnReceived(void* request, sbyte status, ucp_tag_recv_info* info, void* data)
    {
        ((UcxRequest*)request)->Info = *info;
        UcxMailbox.Put((UcxRequest*)request, status);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void OnClosed(void* request, sbyte status, void* data)
    {
        ((UcxRequest*)data)->Native = request;
        UcxMailbox.Put((UcxRequest*)data, status);
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void OnFailed(void* request, void* endpoint, sbyte status) => UcxMailbox.Put((UcxRequest*)request, status);
}

/// <summary>The requests that have ended, for the holder of the progress turn. Callbacks run on any thread that has called UCX.</summary>
internal unsafe struct UcxMailbox
{
    private nint _newest;

    public bool IsEmpty => Volatile.Read(ref _newest) == 0;

    /// <summary>Adds a request, which must not be in a mailbox.</summary>
    public static void Put(UcxRequest* request, sbyte status)
    {
        request->Status = status;
        ref nint newest = ref request->Mailbox->_newest;
        nint seen = Volatile.Read(ref newest);
        while (true)
        {
            request->Next = (UcxRequest*)seen;
            nint before = Interlocked.CompareExchange(ref newest, (nint)request, seen);
            if (before == seen)
                return;
            seen = before;
        }
    }

    /// <summary>Removes all requests, the oldest first, linked by <see cref="UcxRequest.Next"/>.</summary>
    public UcxRequest* TakeAll()
    {
        if (IsEmpty)
            return null;
        var newest = (UcxRequest*)Interlocked.Exchange(ref _newest, 0);
        UcxRequest* oldest = null;
        while (newest != null)
        {
            UcxRequest* next = newest->Next;
            newest->Next = oldest;
            oldest = newest;
            newest = next;
        }
        return oldest;
    }
}

/// <summary>Memory for requests, each with UCX's part before it.</summary>
internal sealed unsafe class UcxRequests
{
    private const nuint Alignment = 64;

    private readonly byte* _memory;
    private readonly nuint _before;
    private readonly nuint _stride;

    /// <param name="count">The number of requests.</param>
    /// <param name="size">The size of UCX's part, from ucp_context_query.</param>
    /// <param name="kind">The purpose of the requests.</param>
    /// <param name="mailbox">The mailbox for ended requests.</param>
    /// <param name="owner">A handle of the object that they belong to.</param>
    public UcxRequests(int count, nuint size, UcxRequestKind kind, UcxMailbox* mailbox, nint owner = 0)
    {
        _before = (size + Alignment - 1) / Alignment * Alignment;
        _stride = _before + ((nuint)sizeof(UcxRequest) + Alignment - 1) / Alignment * Alignment;
        _memory = (byte*)NativeMemory.AlignedAlloc((nuint)count * _stride, Alignment);
        NativeMemory.Clear(_memory, (nuint)count * _stride);
        Count = count;
        for (int i = 0; i < count; i++)
            *this[i] = new UcxRequest { Kind = kind, Mailbox = mailbox, Index = i, Owner = owner };
    }

    public int Count { get; }

    public UcxRequest* this[int index] => (UcxRequest*)(_memory + ((nuint)index * _stride) + _before);

    /// <summary>Frees the requests, once UCX no longer uses any.</summary>
    public void Free() => NativeMemory.AlignedFree(_memory);
}
