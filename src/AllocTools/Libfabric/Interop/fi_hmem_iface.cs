namespace AllocTools.Libfabric.Interop;

/// <summary>Kinds of memory. fi_mr(3).</summary>
internal enum fi_hmem_iface
{
    FI_HMEM_SYSTEM = 0,
    FI_HMEM_CUDA = 1,
    FI_HMEM_ROCR = 2,
    FI_HMEM_ZE = 3,
    FI_HMEM_NEURON = 4,
    FI_HMEM_SYNAPSEAI = 5,
}
