using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using AllocTools.Libfabric.Interop;

namespace AllocTools.Libfabric.Tests.Interop;

/// <summary>
/// An object whose tables are empty except for fi_close and fi_bind, which record when they were called. Its memory is
/// never freed: a handle that a failed test leaves behind is finalized later.
/// </summary>
internal sealed unsafe class FakeFid
{
    private static int s_clock;
    private readonly State* _state;

    public FakeFid(int closeStatus = 0, int bindStatus = 0)
    {
        Memory = (fid*)NativeMemory.AllocZeroed(256);
        _state = (State*)NativeMemory.AllocZeroed((nuint)sizeof(State));
        Memory->context = _state;
        Memory->ops = &_state->Ops;
        _state->Ops = new fi_ops { size = (nuint)sizeof(fi_ops), close = &Close, bind = &Bind };
        _state->CloseStatus = closeStatus;
        _state->BindStatus = bindStatus;
    }

    public fid* Memory { get; }

    public fi_ops* Ops => &_state->Ops;

    public int Closes => _state->Closes;

    /// <summary>Gets when it was closed, relative to other fakes.</summary>
    public int ClosedAt => _state->ClosedAt;

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Close(fid* self)
    {
        State* state = (State*)self->context;
        state->Closes++;
        state->ClosedAt = Interlocked.Increment(ref s_clock);
        return state->CloseStatus;
    }

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static int Bind(fid* self, fid* other, ulong flags) => ((State*)self->context)->BindStatus;

    private struct State
    {
        public fi_ops Ops;
        public int CloseStatus;
        public int BindStatus;
        public int Closes;
        public int ClosedAt;
    }
}
