using System.Runtime.CompilerServices;

namespace AllocTools.Libfabric.Interop;

/// <summary>Room that a provider needs per operation where it asks for <see cref="FiMode.FI_CONTEXT2"/>. fi_getinfo(3).</summary>
[InlineArray(8)]
internal struct fi_context2
{
    public nint @internal;
}
